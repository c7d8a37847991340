"""Compare two results: the paired test of their LDS.

Legend: M subsets.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ldsboard.core.replicates import (
    FILES_ONLY,
    Reruns,
    add_reruns,
    critical_values,
    mean_influence,
    rerun_p_values,
)
from ldsboard.core.result import Result
from ldsboard.core.significance import standard_error
from ldsboard.notebook_table import notebook_table
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

ONE_FILE = Reruns(1, 1, math.nan)
"""A single file, without replicates."""


@dataclass(frozen=True)
class Comparison:
    """The paired difference between the LDS of two results or methods, a and b, on the same subsets.

    Attributes
    ----------
    difference : float
        LDS of a minus LDS of b.
    std_error : float
        Standard error of the difference over subsets; nan for fewer than 4 subsets. If `spread` is known, over reruns too.
    z : float
        The difference divided by its standard error; nan for fewer than 4 subsets. If the standard error is 0, z is infinite, or
        0 for a difference of 0.
    p_value : float
        Two-sided p-value of z, by Student's t with M - 1 degrees of freedom; nan if z is nan. If `spread` is known, the p-value
        is that of `ldsboard.core.replicates.rerun_p_values`.
    critical : float
        Half width of the 95 % interval of the difference, in standard errors.
    replicates : tuple of int
        Numbers of replicates of a and of b whose mean LDS is compared.
    spread : float or None
        Standard deviation of the LDS over replicates; None if neither side has 3 replicates. Then only the files are compared:
        how much a rerun of a method moves its LDS is not known.
    """

    difference: float
    std_error: float
    z: float
    p_value: float
    critical: float
    replicates: tuple[int, int] = (1, 1)
    spread: float | None = None

    @property
    def confidence_interval(self) -> tuple[float, float]:
        """95 % interval (low, high) of the difference. The interval contains 0 if the p-value is above 5 %."""
        half = self.critical * self.std_error
        return (self.difference - half, self.difference + half)

    @property
    def note(self) -> str | None:
        """A text that says that only the files are compared; None if the comparison accounts for reruns."""
        return FILES_ONLY if self.spread is None else None

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [
            ("LDS of a minus LDS of b", f"{self.difference:+.4f}"),
            ("standard error", f"{self.std_error:.4f}"),
            ("z", f"{self.z:.2f}"),
            ("p-value", f"{self.p_value:.2g}"),
        ]
        if self.spread is None:
            rows.append(("compared", FILES_ONLY))
        else:
            rows.append(("replicates of a and b", f"{self.replicates[0]} and {self.replicates[1]}"))
            rows.append(("standard deviation over replicates", f"{self.spread:.4f}"))
        return notebook_table("Paired comparison", rows)


def compare(a: Result | Sequence[Result], b: Result | Sequence[Result]) -> Comparison:
    """Compare the LDS of two results on the same ground truth, by a test that is paired over the subsets.

    The test uses, for each subset, the difference of two numbers: the subset's influence on the LDS of a, and its influence on
    the LDS of b. Noise that both LDS share cancels in this difference.

    A comparison of two results holds for these two files only. To compare two methods, give the results of several replicates of
    each method, that is, of runs with other seeds. The mean LDS are then compared. With at least 3 replicates of one of the
    methods, the standard error accounts for reruns: `ldsboard.core.replicates.add_reruns` has the formula.

    Parameters
    ----------
    a, b : Result or sequence of Result
        Results with the same fingerprint. The results of a sequence are replicates of one method; a sequence must not be empty.

    Returns
    -------
    Comparison
        The LDS of a minus the LDS of b, the standard error of this difference, z, and the two-sided p-value.

    Raises
    ------
    ProblemError
        ``compare.different``: the results have different fingerprints.
    ValueError
        A sequence is empty.

    See Also
    --------
    lds : Score one array.
    GroundTruth : Score many arrays on the same ground truth.
    """
    sides = [[side] if isinstance(side, Result) else list(side) for side in (a, b)]
    if not all(sides):
        raise ValueError("a and b: expected a result, or at least one result in each sequence; got an empty sequence")
    prints = sorted({result.fingerprint[:12] for side in sides for result in side})
    if len(prints) > 1:
        raise ProblemError.mismatch(
            "compare.different",
            expected="results on the same subsets and margins",
            got=f"results with the fingerprints {' and '.join(prints)}",
            hint="Score all files against the same subsets of the same version of a benchmark.",
        )
    lds_a, lds_b = ([result.lds for result in side] for side in sides)
    influence_a_M, influence_b_M = (mean_influence([result.influence for result in side]) for side in sides)
    difference = statistics.fmean(lds_a) - statistics.fmean(lds_b)
    return compare_influences(difference, influence_a_M, influence_b_M, reruns=(Reruns.of(lds_a), Reruns.of(lds_b)))


def compare_influences(
    difference: float,
    influence_a_M: NDArray[np.float64],
    influence_b_M: NDArray[np.float64],
    *,
    reruns: tuple[Reruns, Reruns] = (ONE_FILE, ONE_FILE),
) -> Comparison:
    """Return the comparison of two results a and b, computed from the difference of their LDS and from the influences.

    The standard error of the difference over subsets is ``sqrt(sum((psi_a - psi_b)**2) / (M (M - 1)))``, or nan for M < 4.
    `add_reruns` adds the standard error over reruns.

    Parameters
    ----------
    difference
        LDS of a minus LDS of b.
    influence_a_M, influence_b_M
        psi_a and psi_b, the influence of each subset on the LDS of a and of b, float64 (M,); the means over averaged replicates.
    reruns
        The replicates of a and of b; by default, a and b are single files.
    """
    M = influence_a_M.size
    paired = standard_error(influence_a_M - influence_b_M)
    found = add_reruns(paired, *reruns)
    error, spread = float(found.std_error), float(found.spread)
    without_error = math.copysign(math.inf, difference) if difference else 0.0
    z = difference / error if error else without_error
    return Comparison(
        difference,
        error,
        z,
        float(rerun_p_values(z, M, found)),
        float(critical_values(M, found)),
        (reruns[0].averaged, reruns[1].averaged),
        None if math.isnan(spread) else spread,
    )
