"""Compare results in pairs: the paired test of two LDS, and the rank intervals of the entries of a leaderboard.

Legend: k entries, M subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core.significance import standard_error, two_sided_p
from ldsboard.notebook_table import notebook_table
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ldsboard.core.result import Result


@dataclass(frozen=True)
class Comparison:
    """The paired difference between the LDS of two results, a and b, on the same subsets.

    Attributes
    ----------
    difference : float
        LDS of a minus LDS of b.
    std_error : float
        Standard error of the difference over subsets; nan for fewer than 4 subsets.
    z : float
        The difference divided by its standard error. If the standard error is 0, z is infinite, or 0 for a difference of 0.
    p_value : float
        Two-sided p-value of z, by Student's t with M - 1 degrees of freedom.
    """

    difference: float
    std_error: float
    z: float
    p_value: float

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [
            ("LDS of a minus LDS of b", f"{self.difference:+.4f}"),
            ("standard error", f"{self.std_error:.4f}"),
            ("z", f"{self.z:.2f}"),
            ("p-value", f"{self.p_value:.2g}"),
        ]
        return notebook_table("Paired comparison", rows)


def compare(a: Result, b: Result) -> Comparison:
    """Compare the LDS of two results on the same ground truth, by a test that is paired over the subsets.

    The test uses, for each subset, the difference of two numbers: the subset's influence on the LDS of a, and its influence on
    the LDS of b. Noise that both LDS share cancels in this difference.

    Parameters
    ----------
    a, b : Result
        Results with the same fingerprint.

    Returns
    -------
    Comparison
        The LDS of a minus the LDS of b, the standard error of this difference, z, and the two-sided p-value.

    Raises
    ------
    ProblemError
        ``compare.different``: the results have different fingerprints.

    See Also
    --------
    lds : Score one array.
    GroundTruth : Score many arrays on the same ground truth.
    """
    if a.fingerprint != b.fingerprint:
        raise ProblemError.mismatch(
            "compare.different",
            expected="two results on the same subsets and margins",
            got=f"results with the fingerprints {a.fingerprint[:12]} and {b.fingerprint[:12]}",
            hint="Score both files against the same subsets of the same version of a benchmark.",
        )
    return compare_influences(a.lds - b.lds, a.influence, b.influence)


def compare_influences(
    difference: float, influence_a_M: NDArray[np.float64], influence_b_M: NDArray[np.float64]
) -> Comparison:
    """Return the comparison of two results a and b, computed from the difference of their LDS and from the influences.

    The standard error of the difference is ``sqrt(sum((psi_a - psi_b)**2) / (M (M - 1)))``, or nan for M < 4.

    Parameters
    ----------
    difference
        LDS of a minus LDS of b.
    influence_a_M, influence_b_M
        psi_a and psi_b, the influence of each subset on the LDS of a and of b, float64 (M,).
    """
    error = standard_error(influence_a_M - influence_b_M)
    without_error = math.copysign(math.inf, difference) if difference else 0.0
    z = difference / error if error else without_error
    return Comparison(difference, error, z, float(two_sided_p(z, influence_a_M.size - 1)))


def rank_intervals(lds: Sequence[float], influence_kM: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the rank interval of each entry.

    The paired test is applied to every pair of entries, with Holm's correction at 5 % over all pairs. All intervals are therefore
    correct at the same time with a probability of at least 95 %. The interval of an entry reaches from 1 + the number of
    significantly better entries to k - the number of significantly worse entries.

    Parameters
    ----------
    lds
        LDS of the k entries.
    influence_kM
        psi, the influence of each subset on the LDS of each entry, float64 (k, M).

    Returns
    -------
    list of tuple of int
        For each entry the smallest and the largest rank in its interval; 1 is the best rank.
    """
    from scipy.spatial.distance import pdist  # noqa: PLC0415 -- slow to import, and only leaderboards need it

    if len(lds) == 0:
        return []
    k, M = influence_kM.shape
    values = np.asarray(lds, dtype=np.float64)
    # `difference`, `error` and `z` have one element for each pair i < j, row by row. `pdist` sums the squares of differences. To
    # expand these squares would lose digits by cancellation for nearly equal entries.
    difference = np.concatenate([values[i] - values[i + 1 :] for i in range(k)])
    error = np.sqrt(pdist(influence_kM, "sqeuclidean") / (M * (M - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / error)
    direction = np.sign(difference) * _holm(two_sided_p(z, M - 1))  # 1: i is better, -1: j is better, 0: neither
    better, worse = np.zeros((2, k), dtype=np.int64)
    for i, row in enumerate(np.split(direction, np.cumsum(np.arange(k - 1, 0, -1)))):
        worse[i] += np.count_nonzero(row > 0)
        better[i] += np.count_nonzero(row < 0)
        better[i + 1 :] += row > 0
        worse[i + 1 :] += row < 0
    return [(1 + int(better[i]), k - int(worse[i])) for i in range(k)]


def _holm(p_values: NDArray[np.float64], level: float = 0.05) -> NDArray[np.bool_]:
    """Return for each p-value whether Holm's step-down procedure rejects the hypothesis, as a bool array."""
    order = np.argsort(p_values)
    passed = p_values[order] <= level / np.arange(p_values.size, 0, -1)
    rejected = np.zeros(p_values.size, dtype=np.bool_)
    rejected[order] = np.logical_and.accumulate(passed)
    return rejected
