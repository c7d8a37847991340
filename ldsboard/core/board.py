"""Ranks of the entries of a leaderboard, and the entries that cannot be separated from the first.

Legend: k entries, f entries of the family, o entries outside the family, M subsets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldsboard.core.replicates import FEWEST_REPLICATES, Reruns, add_reruns, rerun_p_values
from ldsboard.core.significance import two_sided_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FAMILY_ERROR = 0.05
"""Nominal probability that a board has a wrong rank interval, and that an entry is wrongly separated from the first."""


class Standing(NamedTuple):
    """The rank interval of an entry, with rank 1 for the best, and whether the entry is significantly worse than the first entry.

    For the first entry, ``separable_from_first`` is None.
    """

    rank_low: int
    rank_high: int
    separable_from_first: bool | None


def rank_board(
    lds: Sequence[float] | Floats,
    influence_kM: Floats,
    in_family_k: Bools,
    first: int,
    reruns: Sequence[Reruns] | None = None,
) -> list[Standing]:
    """Return the rank interval of each entry, and whether the entry can be separated from the first entry.

    **Rank.** The paired test of `compare_influences` is applied to every pair of entries of the family, with Holm's correction at
    5 % over these pairs. All rank intervals of the family are therefore correct at the same time with a probability of at least
    95 %. The interval of an entry reaches from 1 + the number of significantly better entries to f - the number of significantly
    worse entries. An entry outside the family has the interval that the entry would have if it alone joined the family, and
    changes no other interval.

    **Separable from the first.** The first entry is compared with each of the other entries of the family. The entry with the
    smallest p-value is separated if p <= 0.05 / (s (s - 1) / 2), where s counts the first entry and all entries that are not
    separated yet. Then the next entry is tested, until one is not separated. The limit allows for all pairs of the s entries,
    because the result decides which entry is the first. Entries that the rank tests find significantly worse than the first are
    separated too. An entry outside the family is tested as if it alone joined the family.

    Parameters
    ----------
    lds
        LDS of the k entries; for an entry with replicates, the mean over its replicates.
    influence_kM
        psi, the influence of each subset on the LDS of each entry, float64 (k, M); likewise the mean over replicates.
    in_family_k
        Which entries the ranks count, bool (k,).
    first
        Index of the entry that the board lists first. It may be outside the family.
    reruns
        The replicates of each entry; by default, every entry is one file. If at least one entry of a pair has
        `FEWEST_REPLICATES` or more replicates, the test of the pair uses the standard error of `add_reruns` and the p-value of
        `rerun_p_values`.

    Returns
    -------
    list of Standing
        One standing for each entry, in the order of `lds`.
    """
    from scipy.spatial.distance import cdist, pdist  # noqa: PLC0415 -- slow to import, and only leaderboards need it

    if len(lds) == 0:
        return []
    k, M = influence_kM.shape
    lds_k = np.asarray(lds, dtype=np.float64)
    inside, outside = np.flatnonzero(in_family_k), np.flatnonzero(~in_family_k)
    lds_f, influence_fM, f = lds_k[inside], influence_kM[inside], inside.size
    known = _Known.of(reruns)

    # `difference`, `p` and `better` have one element for each pair i < j of the family, row by row. `pdist` sums the squares of
    # differences. To expand these squares would lose digits by cancellation for nearly equal entries.
    difference = np.concatenate([lds_f[i] - lds_f[i + 1 :] for i in range(f)] or [lds_f])
    squares = pdist(influence_fM, "sqeuclidean") if f > 1 else difference[:0]
    p = _p_values(difference, squares, M, known and known.between(*(inside[side] for side in np.triu_indices(f, 1))))
    sorted_p = np.sort(p)
    better = np.sign(difference) * (p < _holm_stop(sorted_p))  # 1: i is better, -1: j is better, 0: neither

    losses_k, wins_k = np.zeros(
        (2, k), dtype=np.int64
    )  # the numbers of significantly better and of significantly worse entries
    below_first_k = np.zeros(k, dtype=np.bool_)
    losses_f, wins_f = np.zeros((2, f), dtype=np.int64)
    first_f = int(np.searchsorted(inside, first))
    for i, row in enumerate(np.split(better, np.cumsum(np.arange(f - 1, 0, -1)))[:f]):  # without a family, no row
        wins_f[i] += np.count_nonzero(row > 0)
        losses_f[i] += np.count_nonzero(row < 0)
        losses_f[i + 1 :] += row > 0
        wins_f[i + 1 :] += row < 0
        if in_family_k[first] and i == first_f:
            below_first_k[inside[i + 1 :]] = row > 0
        elif in_family_k[first] and i < first_f:
            below_first_k[inside[i]] = row[first_f - i - 1] < 0
    losses_k[inside], wins_k[inside] = losses_f, wins_f

    if outside.size:
        difference_of = lds_k[outside, None] - lds_f
        squares_of = cdist(influence_kM[outside], influence_fM, "sqeuclidean")
        p_of = _p_values(difference_of, squares_of, M, known and known.between(outside[:, None], inside))
        better_of = np.sign(difference_of) * (p_of < _holm_stops_with_one_more(sorted_p, p_of)[:, None])
        losses_k[outside] = np.count_nonzero(better_of < 0, axis=1)
        wins_k[outside] = np.count_nonzero(better_of > 0, axis=1)
        if in_family_k[first]:
            below_first_k[outside] = better_of[:, first_f] < 0
        else:
            below_first_k[inside] = better_of[np.searchsorted(outside, first)] > 0

    lead_k = lds_k[first] - lds_k
    squares_k = np.square(influence_kM - influence_kM[first]).sum(axis=1)
    p_first_k = _p_values(lead_k, squares_k, M, known and known.between(np.array([first]), np.arange(k)))
    below_first_k |= _separated(p_first_k, in_family_k, first) & (lead_k > 0)
    size_k = f + ~in_family_k  # the number of entries among which an entry is ranked
    return [
        Standing(1 + int(losses_k[i]), int(size_k[i] - wins_k[i]), None if i == first else bool(below_first_k[i]))
        for i in range(k)
    ]


class _Known(NamedTuple):
    """The `Reruns` of all k entries, as arrays (k,)."""

    reruns: Reruns

    @classmethod
    def of(cls, reruns: Sequence[Reruns] | None) -> _Known | None:
        """Return the reruns of all entries; None if no entry has enough replicates to change a test."""
        if reruns is None or all(entry.known < FEWEST_REPLICATES for entry in reruns):
            return None
        return cls(Reruns(*(np.array(column) for column in zip(*reruns, strict=True))))

    def between(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> tuple[Reruns, Reruns]:
        """Return the reruns of the entries with the indices `a` and `b`."""
        return (Reruns(*(column[a] for column in self.reruns)), Reruns(*(column[b] for column in self.reruns)))


def _p_values(difference: Floats, squares: Floats, M: int, reruns: tuple[Reruns, Reruns] | None) -> Floats:
    """Return the p-value of the paired test of `compare_influences` for each pair of entries a and b.

    `difference` holds the differences of their LDS, and `squares` holds ``sum((psi_a - psi_b)**2)``, in arrays of equal shape.
    """
    paired_error = np.sqrt(squares / (M * (M - 1)))
    error = None if reruns is None else add_reruns(paired_error, *reruns)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / (paired_error if error is None else error.std_error))
    return two_sided_p(z, M - 1) if error is None else rerun_p_values(z, M, error)


def _first_above(sorted_p: Floats, limit: Floats) -> float:
    """Return the first of the p-values that is above its limit, or infinity."""
    above = sorted_p > limit
    return float(sorted_p[above.argmax()]) if above.any() else math.inf


def _holm_stop(sorted_p: Floats) -> float:
    """Return the smallest p-value that Holm's step-down procedure does not reject; infinity if it rejects all hypotheses."""
    return _first_above(sorted_p, FAMILY_ERROR / np.arange(sorted_p.size, 0, -1))


def _holm_stops_with_one_more(sorted_p: Floats, p_of: Floats) -> Floats:
    """Return `_holm_stop` of the p-values of the family together with the p-values of each entry outside, float64 (o,).

    Holm's procedure stops at the smallest p-value p with p > 0.05 / (number of p-values that are at least p). An entry outside
    adds f p-values, so that only a few p-values of the family have to be checked for each entry: those that the procedure rejects
    in the family alone, but may not reject with f more p-values.

    Parameters
    ----------
    sorted_p
        The p-values of the pairs of the family, in ascending order.
    p_of
        The p-values of each entry outside the family with each entry of the family, float64 (o, f).
    """
    f = p_of.shape[1]
    remaining = np.arange(sorted_p.size, 0, -1)
    uncertain = (sorted_p > FAMILY_ERROR / (remaining + f)) & (sorted_p <= _holm_stop(sorted_p))
    family_p, family_remaining = sorted_p[uncertain], remaining[uncertain]
    own_of = np.sort(p_of, axis=1)
    limit_of = FAMILY_ERROR / (sorted_p.size - np.searchsorted(sorted_p, own_of) + np.arange(f, 0, -1))
    stops = np.empty(len(p_of))
    for i, own_f in enumerate(own_of):
        limit = FAMILY_ERROR / (family_remaining + f - np.searchsorted(own_f, family_p))
        stops[i] = min(_first_above(own_f, limit_of[i]), _first_above(family_p, limit))
    return stops


def _separated(p_k: Floats, in_family_k: Bools, first: int) -> Bools:
    """Return which entries are separated from the first entry by the step-down procedure of `rank_board`, bool (k,).

    Parameters
    ----------
    p_k
        The p-value of each entry against the first entry; the value of the first entry is not used.
    """
    is_other = in_family_k.copy()
    is_other[first] = False
    sorted_p = np.sort(p_k[is_other])
    left = np.arange(sorted_p.size + 1, 0, -1)  # entries that are not separated yet, without the first entry
    separated_k: Bools = p_k < _first_above(sorted_p, FAMILY_ERROR / _pairs(left[1:] + 1))
    # With an entry outside the family, one more entry is left at every step.
    limit = FAMILY_ERROR / _pairs(left + 1)
    joined_k = (p_k <= _first_above(sorted_p, limit[:-1])) & (p_k <= limit[np.searchsorted(sorted_p, p_k)])
    return np.where(in_family_k, separated_k, joined_k)


def _pairs(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    return entries * (entries - 1) // 2
