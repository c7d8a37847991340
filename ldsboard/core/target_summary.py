"""Summary of Spearman's rho over targets.

Legend: N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95
"""The quantiles of rho in a `TargetSummary`."""

SIGNIFICANT_P = 0.05
"""A target counts as significant if its p-value is below this number."""


@dataclass(frozen=True)
class TargetSummary:
    """How Spearman's rho varies over targets.

    Attributes
    ----------
    count : int
        Number of targets N.
    median, low, high : float
        Median, 5 % quantile and 95 % quantile of rho over targets, interpolated linearly as by `numpy.quantile`.
    share_p05 : float
        Share of the targets whose two-sided p-value is below 0.05, whatever the sign of rho. For scores that are unrelated to the
        margins, 5 % of the targets are expected.
    """

    count: int
    median: float
    low: float
    high: float
    share_p05: float


def summarise_targets(rho_N: NDArray[np.float64], p_values_N: NDArray[np.float64]) -> TargetSummary:
    """Summarise the correlations of N >= 1 targets.

    Parameters
    ----------
    rho_N
        Spearman's rho of each target, float64 (N,).
    p_values_N
        Two-sided p-value of each rho, float64 (N,), see `ldsboard.core.significance.spearman_p_values`. A p-value that is nan
        counts as not significant.
    """
    low, median, high = np.quantile(rho_N, (LOW, MEDIAN, HIGH)).tolist()
    return TargetSummary(rho_N.size, median, low, high, share_significant(p_values_N))


def share_significant(p_values_N: NDArray[np.float64]) -> float:
    """Return the share of the N >= 1 p-values, float64 (N,), that are below `SIGNIFICANT_P`."""
    return float(np.mean(p_values_N < SIGNIFICANT_P))
