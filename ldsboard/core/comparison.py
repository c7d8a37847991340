"""Compare two results: the paired test of their LDS.

Legend: M subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldsboard.core.significance import standard_error, two_sided_p
from ldsboard.notebook_table import notebook_table
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    import numpy as np
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
