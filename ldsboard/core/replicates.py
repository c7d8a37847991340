"""Replicates: how much a rerun of a method moves its LDS, and what this adds to the standard error of a difference.

Legend: M subsets.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FEWEST_REPLICATES = 3
"""With fewer replicates, their standard deviation is not used in comparisons."""

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
        """Return the reruns of one method, which are all averaged, from the LDS of each replicate."""
        return cls(len(lds), len(lds), statistics.stdev(lds) if len(lds) > 1 else math.nan)


class Error(NamedTuple):
    """The standard error of a difference, its degrees of freedom, and the pooled spread, which is nan if it is unknown."""

    std_error: Floats
    degrees: Floats
    spread: Floats


def add_reruns(paired_error: Floats | float, M: int, a: Reruns, b: Reruns) -> Error:
    """Return the standard error of the difference between the mean LDS of two methods, over subsets and over reruns.

    The standard error is ``sqrt(SE_paired**2 + s**2 (1/a + 1/b))``, where a and b count the averaged replicates. s is the
    standard deviation over the replicates of a method with at least `FEWEST_REPLICATES` replicates. If both methods have as many,
    s is pooled: ``s**2 = sum((r - 1) s_r**2) / sum(r - 1)``. If only one has, its s is used for both. The degrees of freedom are
    those of B. L. Welch (Biometrika 34, 1947) and F. E. Satterthwaite (Biometrics Bulletin 2, 1946): M - 1 for the paired part,
    and ``sum(r - 1)`` for s.

    If neither method has `FEWEST_REPLICATES` replicates, the standard error is `paired_error`, with M - 1 degrees of freedom.

    The result is on the safe side: `paired_error` contains the part of the reruns' effect that differs between subsets, and s
    contains the same part again.

    Parameters
    ----------
    paired_error
        Standard error of the difference over subsets, from the mean influences of the averaged replicates.
    M
        Number of subsets.
    a, b
        The reruns of each method. Arrays are broadcast against `paired_error`.
    """
    weight_a, weight_b = (np.where(np.asarray(side.known) < FEWEST_REPLICATES, 0, side.known - 1) for side in (a, b))
    weight = weight_a + weight_b
    squares = [np.where(w > 0, w * np.square(side.spread), 0.0) for w, side in ((weight_a, a), (weight_b, b))]
    variance = np.where(weight > 0, sum(squares) / np.maximum(weight, 1), 0.0)
    of_reruns = variance * (1 / np.asarray(a.averaged) + 1 / np.asarray(b.averaged))
    of_subsets = np.square(paired_error)
    total = of_subsets + of_reruns
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = total**2 / (of_subsets**2 / (M - 1) + of_reruns**2 / np.maximum(weight, 1))
    return Error(
        np.where(of_reruns > 0, np.sqrt(total), paired_error),
        np.where(of_reruns > 0, degrees, float(M - 1)),
        np.where(weight > 0, np.sqrt(variance), math.nan),
    )


def mean_influence(influences: Sequence[Floats]) -> Floats:
    """Return the mean of the influences of at least one replicate, each float64 (M,), as float64 (M,)."""
    return sum(influences[1:], influences[0]) / len(influences)


def in_words(compared: Mapping[str, Any]) -> str:
    """Return what a comparison compared, in words.

    `compared` has the members ``spread`` and ``replicates`` of a comparison. Without them, as in answers of older servers, the
    comparison is about files.
    """
    if compared.get("spread") is None:
        return FILES_ONLY
    a, b = compared["replicates"]
    return (
        f"means over {a} and {b} replicates, with a standard deviation of {compared['spread']:.4f} from rerun to rerun"
    )
