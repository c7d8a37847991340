"""Compare the LDS on the answered ranking subsets with the LDS on the reserve, to find scores that were fitted to the answers.

Legend: M subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy

FLAG_Z = 3.0
"""A file is flagged if the answered LDS is more than this many standard errors above the reserve's LDS."""


@dataclass(frozen=True)
class ReserveCheck:
    """The difference of the LDS on the answered subsets and on the reserve, for one file.

    Attributes
    ----------
    difference : float
        LDS on the answered subsets minus LDS on the reserve.
    std_error : float
        Standard error of the difference over draws of both sets of subsets.
    z : float
        The difference divided by its standard error; infinite, or 0, for a standard error of 0.
    p_value : float
        Probability of such a z or a larger one, if the file was not fitted to the answered subsets: one-sided, by Student's t.
    """

    difference: float
    std_error: float
    z: float
    p_value: float

    @property
    def is_flagged(self) -> bool:
        """Whether the answered LDS is too far above the reserve's LDS: z > 3. A lower answered LDS is never flagged."""
        return self.z > FLAG_Z


def check_reserve(answered: tuple[float, float, int], reserve: tuple[float, float, int]) -> ReserveCheck:
    """Compare the LDS of one file on two disjoint sets of subsets: the answered subsets and the reserve.

    The subsets are independent draws, so that for a file that does not depend on either set, the two LDS are independent, and
    the squared error of the difference is ``SE_a² + SE_r²``. The standard errors come from psi, see
    `ldsboard.core.significance.standard_error`. The degrees of freedom of Student's t are those of Welch (Biometrika 34, 1947),
    from M - 1 for each set. The level of z > 3 is .0014 for many subsets, and .0031 for a reserve of 25 subsets that alone
    determines the error. The LDS at few subsets is biased by less than a quarter of this standard error in simulation
    (``tests/statistics/test_reserve.py``); the difference is not corrected for it.

    Parameters
    ----------
    answered, reserve
        LDS, its standard error, and the number of subsets M, of each set.
    """
    (lds_a, error_a, M_a), (lds_r, error_r, M_r) = answered, reserve
    difference, error = lds_a - lds_r, math.hypot(error_a, error_r)
    if error == 0:
        z = math.copysign(math.inf, difference) if difference else 0.0
        return ReserveCheck(difference, error, z, 0.0 if z > 0 else 1.0 if z < 0 else 0.5)
    degrees = error**4 / (error_a**4 / (M_a - 1) + error_r**4 / (M_r - 1))
    z = difference / error
    return ReserveCheck(difference, error, z, float(scipy.special.stdtr(degrees, -z)))
