"""What a score means: p-values, standard errors, intervals, and the distance from chance.

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

    from ldsboard.ranking import Ranking

LEVEL = 0.95
"""Coverage that every interval aims at."""

FEWEST_SUBSETS = 4
"""Below this many subsets errors and intervals are nan."""


def two_sided_p(t: NDArray[np.float64] | float, degrees: int) -> NDArray[np.float64]:
    """Return the two-sided p-value of Student's t with the given degrees of freedom; nan for none."""
    return 2 * np.asarray(scipy.special.stdtr(degrees, -np.abs(t)), dtype=np.float64)


def spearman_p_values(rho_N: NDArray[np.float64], M: int) -> NDArray[np.float64]:
    """Return two-sided p-values of Spearman correlations over M subsets, as scipy's default does; float64 (N,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t_N = rho_N * np.sqrt((M - 2) / ((1 + rho_N) * (1 - rho_N)))
    return two_sided_p(t_N, M - 2)


def standard_error(influence_M: NDArray[np.float64]) -> float:
    """Return the standard error of a mean of M influences: ``sqrt(sum(psi**2) / (M (M - 1)))``; nan below 4 subsets."""
    M = influence_M.size
    if M < FEWEST_SUBSETS:
        return math.nan
    return math.sqrt(math.fsum(influence_M**2) / (M * (M - 1)))


def new_targets_error(
    influence_M: NDArray[np.float64], rho_N: NDArray[np.float64], squared_influence_N: NDArray[np.float64]
) -> float:
    """Return the standard error of the LDS for a fresh draw of subsets and of targets.

    A two-way decomposition: the variance over subsets and over targets, less what both contain.

    Parameters
    ----------
    influence_M
        psi, the mean influence of each subset, (M,).
    rho_N
        Correlation of each target, (N,).
    squared_influence_N
        Sum over subsets of the squared influence on each target, (N,).
    """
    M, N = influence_M.size, rho_N.size
    if M < FEWEST_SUBSETS or N < 2:  # noqa: PLR2004
        return math.nan
    subsets = math.fsum(influence_M**2) / M**2
    targets = float(rho_N.var(ddof=1)) / N
    both = math.fsum(squared_influence_N) / (M * N) ** 2
    return math.sqrt(max(subsets, targets, subsets + targets - both))


def half_width(std_error: float, M: int) -> float:
    """Return how far a 95 % interval reaches to each side, by Student's t with M - 1 degrees of freedom."""
    return float(scipy.special.stdtrit(M - 1, (1 + LEVEL) / 2)) * std_error


def interval(rho_N: NDArray[np.float64], lds: float, std_error: float, M: int) -> tuple[float, float]:
    """Return the 95 % interval of the LDS, widened on one side by its bias at few subsets.

    For M subsets Spearman's rho underestimates its large-M value by about ``3 (rho - tau) / (M - 2)``, with Kendall's tau taken
    from rho as for a bivariate normal; the interval reaches from the expected LDS at M to the corrected one.
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
    """Ranks of the margins as rows of unit length, float32 (N, M), with what `ChanceSpread` needs of them.

    Attributes
    ----------
    unit_NM
        Centred ranks of unit length.
    gram_NN
        Where subsets outnumber targets, their rank correlations: computed once for all scores, and before processes fork.
    """

    unit_NM: NDArray[np.float32]
    gram_NN: NDArray[np.float32] | None

    @classmethod
    def of(cls, margins: Ranking) -> Self:
        """Prepare what is needed of ranked margins."""
        unit_NM = unit_rows(margins)
        N, M = unit_NM.shape
        return cls(unit_NM, unit_NM @ unit_NM.T if M > N else None)


class ChanceSpread:
    """The standard deviation of the LDS if the subsets were matched to the margins at random, gathered block by block.

    With A and B the unit rank columns of predictions and margins, (M, N), it is ``norm(A @ B.T) / (N sqrt(M - 1))`` exactly.
    The norm comes from the smaller Gram matrix: A @ B.T itself, summed over blocks, or ``sum((A.T @ A) * (B.T @ B))``. It is a
    scale, not a score, so float32 suffices.
    """

    def __init__(self, margins: MarginRanks) -> None:
        self._margins = margins
        N, M = margins.unit_NM.shape
        self._sums = np.zeros((M, M) if margins.gram_NN is None else (N, M), dtype=np.float32)

    def add(self, predictions_bM: NDArray[np.float32], columns: slice) -> None:
        """Take the unit rows of the next block of predictions; `columns` are its targets."""
        if self._margins.gram_NN is None:
            self._sums += predictions_bM.T @ self._margins.unit_NM[columns]
        else:
            self._sums[columns] = predictions_bM

    def value(self) -> float:
        """Return the standard deviation, over all blocks."""
        N, M = self._margins.unit_NM.shape
        if self._margins.gram_NN is None:
            norm = float(np.linalg.norm(self._sums))
        else:
            gram_NN = self._sums @ self._sums.T
            gram_NN *= self._margins.gram_NN
            norm = math.sqrt(max(0.0, float(gram_NN.sum(dtype=np.float64))))
        return float(norm / (N * math.sqrt(M - 1)))
