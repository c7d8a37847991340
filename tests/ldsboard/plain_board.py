"""`rank_board` without its bounds: the p-value of every pair, from differences, and Holm's procedure over all sorted p-values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from ldsboard.core.board import FAMILY_ERROR, Standing, _separated
from ldsboard.core.pair_tests import Known, p_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ldsboard.core.replicates import Reruns

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


def holm_stop(p: Floats) -> float:
    """Return the smallest p-value that Holm's step-down procedure does not reject; infinity if it rejects all hypotheses."""
    sorted_p = np.sort(p)
    above = sorted_p > FAMILY_ERROR / np.arange(p.size, 0, -1)
    return float(sorted_p[above.argmax()]) if above.any() else math.inf


def plain_board(
    lds: Sequence[float] | Floats,
    influence_kM: Floats,
    in_family_k: Bools,
    first: int,
    reruns: Sequence[Reruns] | None = None,
) -> list[Standing]:
    """Return the result of `rank_board`; the memory for all pairs of entries is used several times."""
    k, M = influence_kM.shape
    lds_k = np.asarray(lds, dtype=np.float64)
    known, everyone = Known.of(reruns), np.arange(k)
    difference_kk = lds_k[:, None] - lds_k
    squares_kk = cdist(influence_kM, influence_kM, "sqeuclidean")
    p_kk = p_values(difference_kk, squares_kk, M, known and known.between(everyone[:, None], everyone))
    inside = np.flatnonzero(in_family_k)
    a, b = (inside[side] for side in np.triu_indices(inside.size, 1))
    family_p = p_kk[a, b]
    is_decided_kk = np.zeros((k, k), dtype=np.bool_)
    is_decided_kk[a, b] = is_decided_kk[b, a] = family_p < holm_stop(family_p)
    for own in np.flatnonzero(~in_family_k):
        own_p = p_kk[own, inside]
        is_decided_kk[own, inside] = own_p < holm_stop(np.concatenate([family_p, own_p]))
    is_better_kk, is_worse_kk = is_decided_kk & (difference_kk > 0), is_decided_kk & (difference_kk < 0)

    lead_k = lds_k[first] - lds_k
    first_squares_k = np.square(influence_kM - influence_kM[first]).sum(axis=1)
    p_first_k = p_values(lead_k, first_squares_k, M, known and known.between(np.array([first]), everyone))
    below_k = (_separated(p_first_k, in_family_k, first) & (lead_k > 0)) | is_worse_kk[:, first] | is_better_kk[first]
    size_k = inside.size + ~in_family_k
    low_k, high_k = 1 + is_worse_kk.sum(axis=1), size_k - is_better_kk.sum(axis=1)
    return [Standing(int(low_k[i]), int(high_k[i]), None if i == first else bool(below_k[i])) for i in range(k)]
