"""Replicates: how much a rerun of a method moves its LDS, and what this adds to the standard error of a difference.

Legend: M subsets.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy

from ldsboard.core.significance import LEVEL, half_width, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_REPLICATES = 3
"""Smallest number of replicates of a method whose standard deviation comparisons use."""

BISECTIONS = 60
"""Steps in which `critical_values` halves an interval: more than a float64 can tell apart."""

FILES_ONLY = "these two files; how much a rerun moves is not known"
"""What a comparison is about if neither side has `FEWEST_REPLICATES` replicates."""


class Reruns(NamedTuple):
    """How many replicates were averaged, and how much single replicates vary; numbers, or arrays of equal shapes.

    Attributes
    ----------
    averaged
        Number of replicates that were averaged, at least 1.
    known
        Number of replicates that `spread` was computed from.
    spread
        Standard deviation of the LDS over replicates, with ``ddof=1``; nan for fewer than two replicates.
    """

    averaged: Any
    known: Any
    spread: Any

    @classmethod
    def of(cls, lds: Sequence[float]) -> Reruns:
        """Return the `Reruns` of a method whose replicates are all averaged, from the LDS of each replicate."""
        return cls(len(lds), len(lds), statistics.stdev(lds) if len(lds) > 1 else math.nan)


class Error(NamedTuple):
    """The standard error of a difference between the methods a and b, over subsets and over reruns.

    Attributes
    ----------
    std_error
        The standard error.
    share_a, share_b
        The shares of the squared standard error that come from reruns of a, and of b; 0 if no spread is known.
    degrees_a, degrees_b
        Degrees of freedom of the spread that is used for a, and for b; 0 if no spread is known.
    spread
        The spread of a and b, pooled for display; nan if it is unknown.
    """

    std_error: Floats
    share_a: Floats
    share_b: Floats
    degrees_a: NDArray[np.int64]
    degrees_b: NDArray[np.int64]
    spread: Floats


def add_reruns(paired_error: Floats | float, a: Reruns, b: Reruns) -> Error:
    """Return the standard error of the difference between the mean LDS of two methods, over subsets and over reruns.

    The standard error is ``sqrt(SE_paired**2 + s_a**2 / a + s_b**2 / b)``, where a and b count the averaged replicates. s_a and
    s_b are the standard deviations over the replicates of the methods. If only one method has at least `FEWEST_REPLICATES`
    replicates, its standard deviation is used for both methods. If neither method has, the standard error is `paired_error`.

    The standard deviations of two methods are never pooled for the test: if methods differ, a pooled value is too small for the
    method that varies more. `Error.spread`, which is only displayed, is ``sqrt(sum((r - 1) s_r**2) / sum(r - 1))``, where s_r is
    the standard deviation of r replicates.

    The result is rather too large than too small: `paired_error` contains the part of the reruns' effect that differs between
    subsets, and s_a and s_b contain the same part again.

    Parameters
    ----------
    paired_error
        Standard error of the difference over subsets, from the mean influences of the averaged replicates.
    a, b
        The reruns of each method. Arrays are broadcast against `paired_error`.
    """
    known_a, known_b = (
        np.where(np.asarray(side.known) < FEWEST_REPLICATES, 0, np.asarray(side.known) - 1) for side in (a, b)
    )
    square_a, square_b = (
        np.where(known > 0, np.square(side.spread), 0.0) for known, side in ((known_a, a), (known_b, b))
    )
    weight = known_a + known_b
    pooled = (known_a * square_a + known_b * square_b) / np.maximum(weight, 1)
    of_a = np.where(known_a > 0, square_a, square_b) / np.asarray(a.averaged)
    of_b = np.where(known_b > 0, square_b, square_a) / np.asarray(b.averaged)
    has_reruns = of_a + of_b > 0
    total = np.square(paired_error) + of_a + of_b
    divisor = np.where(has_reruns, total, 1.0)
    return Error(
        np.where(has_reruns, np.sqrt(total), paired_error),
        of_a / divisor,
        of_b / divisor,
        np.where(known_a > 0, known_a, known_b),
        np.where(known_b > 0, known_b, known_a),
        np.where(weight > 0, np.sqrt(pooled), math.nan),
    )


def rerun_p_values(z: Floats | float, M: int, error: Error) -> Floats:
    """Return the two-sided p-values of `z`: differences of LDS, divided by the standard errors that `add_reruns` returned.

    The p-value is the mean of three p-values of Student's t, weighted by the share of each part in the squared standard error:
    with M - 1 degrees of freedom for the paired part, `Error.degrees_a` for reruns of a, and `Error.degrees_b` for reruns of b.
    W. G. Cochran (Biometrics 20, 1964) weights critical values in the same way. In simulations of normal errors, this mean keeps
    every significance level from .05 to .0001. The degrees of freedom of Welch and Satterthwaite do not: with 3 replicates, up to
    8 % of equal pairs have p < .05, and up to 0.8 % have p < .0001.
    """
    of_subsets = two_sided_p(z, M - 1)
    if not np.any(error.share_a + error.share_b > 0):
        return of_subsets
    of_a = two_sided_p(z, np.maximum(error.degrees_a, 1))
    is_same = np.array_equal(error.degrees_a, error.degrees_b)
    of_b = of_a if is_same else two_sided_p(z, np.maximum(error.degrees_b, 1))
    mixed = error.share_a * of_a + error.share_b * of_b + (1 - error.share_a - error.share_b) * of_subsets
    return np.where(error.share_a + error.share_b > 0, mixed, of_subsets)


def critical_values(M: int, error: Error) -> Floats:
    """Return the half widths of the 95 % intervals of differences, in units of the standard error.

    A half width is the z for which `rerun_p_values` returns 5 %.
    """
    has_reruns = error.share_a + error.share_b > 0
    of_subsets = np.full(np.shape(has_reruns), half_width(1.0, M))
    if not np.any(has_reruns):
        return of_subsets
    fewest_degrees = np.maximum(np.minimum(error.degrees_a, error.degrees_b), 1)
    of_reruns = scipy.special.stdtrit(fewest_degrees, (1 + LEVEL) / 2)
    low, high = of_subsets, np.maximum(of_subsets, of_reruns)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_below = rerun_p_values(middle, M, error) > 1 - LEVEL
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.where(has_reruns, high, of_subsets)


def mean_influence(influences: Sequence[Floats]) -> Floats:
    """Return the mean of the influences of at least one replicate, each float64 (M,), as float64 (M,)."""
    return sum(influences[1:], influences[0]) / len(influences)


def in_words(compared: Mapping[str, Any]) -> str:
    """Return what a comparison compared, in words.

    `compared` has the members ``spread``, ``replicates`` and ``uses_subsets`` of a comparison. If only one side has
    `FEWEST_REPLICATES` replicates, the text says that the spread of this side is assumed for both sides. Without ``spread``, as
    in answers of older servers, the comparison is about files. ``uses_subsets`` can be missing.
    """
    fitted = {
        (True, False): "; the first is declared as fitted to the ranking subsets",
        (False, True): "; the second is declared as fitted to the ranking subsets",
        (True, True): "; both are declared as fitted to the ranking subsets",
    }.get(tuple(compared.get("uses_subsets", ())), "")
    if compared.get("spread") is None:
        return FILES_ONLY + fitted
    a, b = compared["replicates"]
    spread = f"{compared['spread']:.4f}"
    assumed = ""
    if min(a, b) < FEWEST_REPLICATES <= max(a, b):
        assumed = f", known for the {'first' if a > b else 'second'} only and assumed for both"
    return (
        f"means over {a} and {b} replicates, with a standard deviation of {spread} from rerun to rerun{assumed}{fitted}"
    )
