"""p-values, standard errors and confidence intervals of the LDS, and its distribution for random scores.

Legend: M subsets, N targets, b targets of one block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.ranking import Ranking

LEVEL = 0.95
"""Nominal coverage of every interval."""

FEWEST_SUBSETS = 4
"""With fewer subsets, standard errors and intervals are nan."""


def two_sided_p(t: NDArray[np.float64] | float, degrees: int) -> NDArray[np.float64]:
    """Return the two-sided p-value of Student's t; nan for 0 degrees of freedom."""
    return 2 * np.asarray(scipy.special.stdtr(degrees, -np.abs(t)), dtype=np.float64)


def spearman_p_values(rho_N: NDArray[np.float64], M: int) -> NDArray[np.float64]:
    """Return the two-sided p-values of Spearman correlations over M subsets, float64 (N,), as `scipy.stats.spearmanr` does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t_N = rho_N * np.sqrt((M - 2) / ((1 + rho_N) * (1 - rho_N)))
    return two_sided_p(t_N, M - 2)


def standard_error(influence_M: NDArray[np.float64]) -> float:
    """Return the standard error of an LDS from its M influences, ``sqrt(sum(psi**2) / (M (M - 1)))``; nan for M < 4."""
    M = influence_M.size
    if M < FEWEST_SUBSETS:
        return math.nan
    return math.sqrt(math.fsum(influence_M**2) / (M * (M - 1)))


def new_targets_error(
    influence_M: NDArray[np.float64], rho_N: NDArray[np.float64], squared_influence_N: NDArray[np.float64]
) -> float:
    """Return the standard error of the LDS for a fresh draw of subsets and of targets.

    The squared error is the variance over subsets plus the variance over targets, minus the variance that both contain (a two-way
    decomposition). It is at least the larger of the first two variances.

    Parameters
    ----------
    influence_M
        psi, the mean influence of each subset, (M,).
    rho_N
        Correlation of each target, (N,).
    squared_influence_N
        Sum over subsets of the squared influence on the correlation of each target, (N,).

    Returns
    -------
    float
        The standard error; nan for fewer than 4 subsets or 2 targets.
    """
    M, N = influence_M.size, rho_N.size
    if M < FEWEST_SUBSETS or N < 2:  # noqa: PLR2004
        return math.nan
    subsets = math.fsum(influence_M**2) / M**2
    targets = float(rho_N.var(ddof=1)) / N
    both = math.fsum(squared_influence_N) / (M * N) ** 2
    return math.sqrt(max(subsets, targets, subsets + targets - both))


def half_width(std_error: float, M: int) -> float:
    """Return the half width of a 95 % interval, by Student's t with M - 1 degrees of freedom."""
    return float(scipy.special.stdtrit(M - 1, (1 + LEVEL) / 2)) * std_error


def interval(rho_N: NDArray[np.float64], lds: float, std_error: float, M: int) -> tuple[float, float]:
    """Return the 95 % interval of the LDS, widened on one side by the bias at few subsets.

    With M subsets, Spearman's rho underestimates its large-M value by about ``3 (rho - tau) / (M - 2)``, where Kendall's tau
    follows from rho as for a bivariate normal. The interval covers both the LDS and the LDS corrected by this bias.

    Parameters
    ----------
    rho_N
        Correlation of each target, (N,).
    lds, std_error
        The LDS and its standard error.
    M
        Number of subsets.

    Returns
    -------
    tuple of float
        Lower and upper end, within -1 and 1; nan if the standard error is nan.
    """
    if math.isnan(std_error):
        return (math.nan, math.nan)
    sine_N = np.clip(2 * np.sin(math.pi * rho_N / 6), -1, 1)
    tau_N = 2 / math.pi * np.arcsin(sine_N)
    bias = float(np.mean(3 * (rho_N - tau_N) / (M - 2)))
    half = half_width(std_error, M)
    return (max(-1.0, lds + min(0.0, bias) - half), min(1.0, lds + max(0.0, bias) + half))


def unit_rows(ranking: Ranking) -> NDArray[np.float32]:
    """Return ranks as rows of unit length, float32 (b, M); constant rows are 0."""
    length_b = np.sqrt(ranking.squares_b)
    return (ranking.ranks_bM / np.where(length_b == 0, 1.0, length_b)[:, None]).astype(np.float32)


@dataclass(frozen=True)
class MarginRanks:
    """Ranks of the margins, prepared for `ChanceSpread`.

    Attributes
    ----------
    unit_NM
        Centred ranks as rows of unit length, float32 (N, M).
    gram_NN
        Rank correlations of the targets, float32 (N, N), if M > N: computed once for all scores, and before processes fork.
    """

    unit_NM: NDArray[np.float32]
    gram_NN: NDArray[np.float32] | None

    @classmethod
    def of(cls, margins: Ranking) -> Self:
        """Prepare ranked margins."""
        unit_NM = unit_rows(margins)
        N, M = unit_NM.shape
        return cls(unit_NM, unit_NM @ unit_NM.T if M > N else None)


class ChanceSpread:
    """The standard deviation of the LDS under a random matching of subsets to margins, computed block by block.

    Let A and B, (M, N), hold the centred ranks of predictions and margins, with each column scaled to unit length. The standard
    deviation is then exactly ``norm(A @ B.T) / (N sqrt(M - 1))``, with the Frobenius norm. For M <= N, A @ B.T, (M, M), is summed
    over blocks. For M > N, the squared norm is computed as ``sum((A.T @ A) * (B.T @ B))`` from two (N, N) matrices, which are
    smaller. float32 suffices, because the value only scales `Result.z_random` and does not enter the LDS.
    """

    def __init__(self, margins: MarginRanks) -> None:
        self._margins = margins
        N, M = margins.unit_NM.shape
        self._sums = np.zeros((M, M) if margins.gram_NN is None else (N, M), dtype=np.float32)

    def add(self, predictions_bM: NDArray[np.float32], columns: slice) -> None:
        """Add the ranks of the predictions of a block, rows of unit length, float32 (b, M); `columns` are the block's targets."""
        if self._margins.gram_NN is None:
            self._sums += predictions_bM.T @ self._margins.unit_NM[columns]
        else:
            self._sums[columns] = predictions_bM

    def value(self) -> float:
        """Return the standard deviation, after the last block."""
        N, M = self._margins.unit_NM.shape
        if self._margins.gram_NN is None:
            norm = float(np.linalg.norm(self._sums))
        else:
            gram_NN = self._sums @ self._sums.T
            gram_NN *= self._margins.gram_NN
            norm = math.sqrt(max(0.0, float(gram_NN.sum(dtype=np.float64))))
        return float(norm / (N * math.sqrt(M - 1)))
