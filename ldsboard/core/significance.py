"""p-values, standard errors and confidence intervals of the LDS.

Legend: M subsets, N targets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
"""Nominal probability that a confidence interval covers the true value."""

FEWEST_SUBSETS = 4
"""With fewer subsets, standard errors and intervals are nan."""

FEW_SUBSETS = 64
"""With fewer subsets, intervals are computed on the scale of atanh, and permutations decide whether scores are random."""


def two_sided_p(t: NDArray[np.float64] | float, degrees: NDArray[np.int64] | float) -> NDArray[np.float64]:
    """Return the two-sided p-value of `t` by Student's t distribution; nan for 0 degrees of freedom."""
    return 2 * np.asarray(scipy.special.stdtr(degrees, -np.abs(t)), dtype=np.float64)


def spearman_p_values(rho_N: NDArray[np.float64], M: int) -> NDArray[np.float64]:
    """Return the two-sided p-values of Spearman correlations over M subsets, float64 (N,); nan for M = 2.

    The p-values are those of `scipy.stats.spearmanr`: by Student's t with M - 2 degrees of freedom.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        t_N = rho_N * np.sqrt((M - 2) / ((1 + rho_N) * (1 - rho_N)))
    return two_sided_p(t_N, M - 2)


def standard_error(influence_M: NDArray[np.float64]) -> float:
    """Return the standard error of an LDS from the M influences psi, ``sqrt(sum(psi**2) / (M (M - 1)))``; nan for M < 4."""
    M = influence_M.size
    if M < FEWEST_SUBSETS:
        return math.nan
    return math.sqrt(math.fsum(influence_M**2) / (M * (M - 1)))


def new_targets_error(
    influence_M: NDArray[np.float64], rho_N: NDArray[np.float64], squared_influence_N: NDArray[np.float64]
) -> float:
    """Return the standard error of the LDS over draws of both subsets and targets.

    The squared error is the variance over subsets plus the variance over targets, minus the variance that both contain (a two-way
    decomposition). The squared error is never below the larger of the first two variances, so that the error is never below
    `standard_error`.

    Parameters
    ----------
    influence_M
        psi, the influence of each subset on the LDS, (M,).
    rho_N
        Spearman's rho of each target, (N,).
    squared_influence_N
        For each target, the sum of the squared influences of all subsets on rho, (N,).

    Returns
    -------
    float
        The standard error; nan for fewer than 4 subsets, or for one target.
    """
    M, N = influence_M.size, rho_N.size
    if M < FEWEST_SUBSETS or N < 2:  # noqa: PLR2004
        return math.nan
    subsets = math.fsum(influence_M**2) / (M * (M - 1))
    targets = float(rho_N.var(ddof=1)) / N
    both = math.fsum(squared_influence_N) / (M * (M - 1) * N**2)
    return math.sqrt(max(subsets, targets, subsets + targets - both))


def half_width(std_error: float, M: int) -> float:
    """Return the half width of the 95 % interval with this standard error, by Student's t with M - 1 degrees of freedom."""
    return float(scipy.special.stdtrit(M - 1, (1 + LEVEL) / 2)) * std_error


def interval(rho_N: NDArray[np.float64], lds: float, std_error: float, M: int) -> tuple[float, float]:
    """Return the 95 % interval of the LDS, widened on one side by the bias of the LDS at few subsets.

    With M subsets, Spearman's rho is on average about ``3 (rho - tau) / (M - 2)`` below the limit of rho for large M. Kendall's
    tau is computed from rho as for a bivariate normal distribution. The bias of the LDS is the mean of this amount over targets.

    The interval is computed around the LDS, and then extended at one end by the bias. For M >= 64 it is symmetric around the LDS,
    with Student's t with M - 1 degrees of freedom. For M < 64 the distribution of the LDS is skewed. The interval is then
    symmetric around ``atanh(LDS)``, with Student's t with M - 2 degrees of freedom, and a standard error with the divisor
    ``M (M - 2)``, by the delta method (R. A. Fisher, Metron 1, 1921). An LDS of 1 or -1 has the standard error 0, although an LDS
    of .95 is often 1 at so few subsets. Its interval is then that of a single target with one exchange of neighbouring ranks,
    ``1 - 12 / (M (M**2 - 1))``, with Fisher's standard error ``1 / sqrt(M - 3)`` on the scale of atanh, extended to 1 or -1.

    Parameters
    ----------
    rho_N
        Spearman's rho of each target, (N,).
    lds, std_error
        The LDS and its standard error.
    M
        Number of subsets.

    Returns
    -------
    tuple of float
        Lower and upper end, limited to -1 and 1. Both are nan if the standard error is nan.
    """
    if math.isnan(std_error):
        return (math.nan, math.nan)
    sine_N = np.clip(2 * np.sin(math.pi * rho_N / 6), -1, 1)
    tau_N = 2 / math.pi * np.arcsin(sine_N)
    bias = float(np.mean(3 * (rho_N - tau_N) / (M - 2)))
    if M < FEW_SUBSETS and abs(lds) == 1:
        half = half_width(1 / math.sqrt(M - 3), M - 1)
        nearest = math.tanh(math.atanh(1 - 12 / (M * (M**2 - 1))) - half)
        low, high = sorted((lds, math.copysign(nearest, lds)))
    elif M < FEW_SUBSETS:
        error = std_error * math.sqrt((M - 1) / (M - 2)) / (1 - lds**2)
        half = half_width(error, M - 1)
        low, high = math.tanh(math.atanh(lds) - half), math.tanh(math.atanh(lds) + half)
    else:
        half = half_width(std_error, M)
        low, high = lds - half, lds + half
    return (max(-1.0, low + min(0.0, bias)), min(1.0, high + max(0.0, bias)))
