"""Whether one score is better than another: paired differences, and ranks that admit what is not known.

Legend: k entries, M subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.problems import ProblemError
from ldsboard.significance import FEWEST_SUBSETS, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ldsboard.result import Result


@dataclass(frozen=True)
class Comparison:
    """The difference of two LDS on the same subsets, a minus b, with its standard error, z and two-sided p-value."""

    difference: float
    std_error: float
    z: float
    p_value: float


def compare(a: Result, b: Result) -> Comparison:
    """Compare two results on the same ground truth, paired over its subsets.

    Parameters
    ----------
    a, b
        Results with the same fingerprint.

    Returns
    -------
    Comparison
        a minus b; the p-value is from Student's t with M - 1 degrees of freedom.

    Raises
    ------
    ProblemError
        A ValueError: the results belong to different ground truths.
    """
    if a.fingerprint != b.fingerprint:
        raise ProblemError.mismatch(
            "compare.different",
            expected="two results on the same subsets and margins",
            got=f"ground truths {a.fingerprint[:12]} and {b.fingerprint[:12]}",
            hint="Score both files against the same version and part of a benchmark.",
        )
    return compare_influences(a.lds - b.lds, a.influence, b.influence)


def compare_influences(
    difference: float, influence_a_M: NDArray[np.float64], influence_b_M: NDArray[np.float64]
) -> Comparison:
    """Compare two LDS from their difference and their influences psi, (M,)."""
    M = influence_a_M.size
    if M < FEWEST_SUBSETS:
        return Comparison(difference, math.nan, math.nan, math.nan)
    error = math.sqrt(math.fsum((influence_a_M - influence_b_M) ** 2) / (M * (M - 1)))
    z = _ratio(difference, error)
    return Comparison(difference, error, z, float(two_sided_p(z, M - 1)))


def _ratio(difference: float, error: float) -> float:
    if error > 0:
        return difference / error
    return math.copysign(math.inf, difference) if difference else 0.0


def rank_intervals(lds: Sequence[float], influence_kM: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return for each of k entries the lowest and highest rank that it may have.

    Every pair is decided once, by the paired test, with Holm's correction at 5 % over all pairs: with 95 % probability all
    intervals hold together. From 1 + the number significantly better to k - the number significantly worse.

    Parameters
    ----------
    lds
        LDS of the entries.
    influence_kM
        Their influences psi, (k, M).
    """
    k, M = influence_kM.shape
    first, second = np.triu_indices(k, 1)
    values = np.asarray(lds, dtype=np.float64)
    # From the differences themselves: squares and products would cancel for entries that are nearly equal.
    squared_error = np.zeros((k, k))
    for i in range(k):
        squared_error[i, i + 1 :] = np.sum((influence_kM[i] - influence_kM[i + 1 :]) ** 2, axis=1) / (M * (M - 1))
    difference = values[first] - values[second]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / np.sqrt(squared_error[first, second]))
    significant = _holm(two_sided_p(z, M - 1))
    better = np.zeros((k, k), dtype=np.bool_)  # better[i, j]: i is significantly better than j
    better[first, second] = significant & (difference > 0)
    better[second, first] = significant & (difference < 0)
    return [(1 + int(better[:, i].sum()), k - int(better[i].sum())) for i in range(k)]


def _holm(p_values: NDArray[np.float64], level: float = 0.05) -> NDArray[np.bool_]:
    """Return which hypotheses Holm's step-down procedure rejects."""
    order = np.argsort(p_values)
    passed = p_values[order] <= level / np.arange(p_values.size, 0, -1)
    rejected = np.zeros(p_values.size, dtype=np.bool_)
    rejected[order] = np.logical_and.accumulate(passed)
    return rejected
