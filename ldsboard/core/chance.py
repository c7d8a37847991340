"""Whether the LDS is distinguishable from the LDS of random scores.

Legend: M subsets, N targets, b targets of one block, P permutations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ldsboard.core.significance import FEW_SUBSETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.ranking import CompactRanking, Ranking

RANDOM_P = 0.0027
"""If `Result.p_random` is above this number, the scores are not distinguishable from random scores. The number is the two-sided
p-value of 3 standard deviations."""

PERMUTATIONS = 9_999
"""Number of random permutations of the subsets; all permutations are used for at most `MAX_ALL_PERMUTED` subsets."""

MAX_ALL_PERMUTED = 8

GRID = 2.0**18
"""For fewer than `FEW_SUBSETS` subsets, `unit_rows` rounds its result to multiples of 1 / GRID. Sums of products over at most
2**17 targets are then exact in float64, in any order."""

ADDED_ROWS = 2**10
"""Number of rows of an (M, M) matrix to which products are added at a time, so that memory holds only one such matrix."""

TOLERANCE = 2.0**-14
"""Two permuted LDS count as equal if their difference is at most `TOLERANCE`. Rounding the ranks to the grid changes an LDS by at
most half of `TOLERANCE`."""

SCALED_NUMBERS = 2**20
"""Number of ranks of margins that are scaled at a time, as float64."""


@dataclass(frozen=True)
class MarginRanks:
    """Ranks of the margins, prepared for `ChanceSpread`.

    Attributes
    ----------
    ranks
        Ranks of the M margins of each of N targets.
    gram_NN
        Rank correlations between the margins of every two targets, float32 (N, N); None if M <= N or M < `FEW_SUBSETS`. The array
        is computed once for all scores, before processes fork.
    """

    ranks: CompactRanking
    gram_NN: NDArray[np.float32] | None

    @classmethod
    def of(cls, margins: CompactRanking) -> Self:
        """Return the `MarginRanks` of `margins`, which holds the ranks of the M margins of each target, one target per row."""
        N, M = margins.ranks_bM.shape
        if not N < M >= FEW_SUBSETS:
            return cls(margins, None)
        unit_NM = np.empty((N, M), dtype=np.float32)
        step = max(1, SCALED_NUMBERS // M)
        for start in range(0, N, step):
            unit_NM[start : start + step] = unit_rows(margins.rows(start, start + step))
        return cls(margins, unit_NM @ unit_NM.T)


class ChanceSpread:
    """The LDS when subsets are matched to margins at random, computed block by block: standard deviation and p-value.

    Let A and B, (M, N), hold the centred ranks of predictions and margins, with each column scaled to unit length. The LDS is
    ``trace(A @ B.T) / N``, and the LDS after a permutation of the subsets is the sum of M other elements of ``A @ B.T``, divided
    by N. Over all permutations, the standard deviation of the LDS is exactly ``norm(A @ B.T) / (N sqrt(M - 1))``, with the
    Frobenius norm (W. Hoeffding, Annals of Mathematical Statistics 22, 1951).

    If M <= N, or if there are few subsets, the matrix A @ B.T of shape (M, M) is the sum of one product for each block of
    targets. Otherwise the squared norm is computed as ``sum((A.T @ A) * (B.T @ B))``, because these two matrices of shape (N, N)
    are smaller. For many subsets float32 suffices, because the standard deviation does not enter the LDS.
    """

    def __init__(self, margins: MarginRanks) -> None:
        self._margins = margins
        N, M = margins.ranks.ranks_bM.shape
        dtype = np.float64 if M < FEW_SUBSETS else np.float32
        self._sums: NDArray[Any] = np.zeros((M, M) if margins.gram_NN is None else (N, M), dtype=dtype)

    def add(self, predictions_bM: NDArray[Any], columns: slice) -> None:
        """Add the ranks of the predictions for the targets in `columns`: the result of `unit_rows`, (b, M)."""
        if self._margins.gram_NN is None:
            margins_bM = unit_rows(self._margins.ranks.rows(columns.start, columns.stop))
            for start in range(0, len(self._sums), ADDED_ROWS):
                rows = slice(start, start + ADDED_ROWS)
                self._sums[rows] += predictions_bM[:, rows].T @ margins_bM
        else:
            self._sums[columns] = predictions_bM

    def value(self) -> float:
        """Return the standard deviation of the LDS under random matching; all blocks must have been added."""
        N, M = self._margins.ranks.ranks_bM.shape
        if self._margins.gram_NN is None:
            norm = float(np.linalg.norm(self._sums))
        else:
            gram_NN = self._sums @ self._sums.T
            gram_NN *= self._margins.gram_NN
            norm = math.sqrt(max(0.0, float(gram_NN.sum(dtype=np.float64))))
        return float(norm / (N * math.sqrt(M - 1)))

    def p_value(self, z: float) -> float:
        """Return the two-sided p-value of the LDS under random matching; all blocks must have been added.

        For M < `FEW_SUBSETS`, the p-value is the share of permutations of the subsets with an LDS at least as far from 0 as the
        LDS without permutation. The share is taken over all permutations if M <= `MAX_ALL_PERMUTED`, otherwise over
        `PERMUTATIONS` random permutations and the identity (B. Phipson and G. Smyth, Statistical Applications in Genetics and
        Molecular Biology 9, 2010). `z` is then not used. For M >= `FEW_SUBSETS`, the p-value is the normal p-value of `z`, the
        LDS divided by the result of `value`.
        """
        N, M = self._margins.ranks.ranks_bM.shape
        if M >= FEW_SUBSETS:
            return math.erfc(abs(z) / math.sqrt(2))
        lds_P = self._sums.take(_permuted_diagonals(M)).sum(axis=1) / N
        return float(np.mean(np.abs(lds_P) >= abs(lds_P[0]) - TOLERANCE))


def p_random_text(p_random: float, M: int) -> str:
    """Return the p-value `Result.p_random` as a text with two digits.

    For at most `MAX_ALL_PERMUTED` subsets, the text adds the number of all permutations. For other M < `FEW_SUBSETS`, the
    smallest p-value that random permutations can give is shown as an upper bound.
    """
    if M <= MAX_ALL_PERMUTED:
        return f"{p_random:.2g} of all {math.factorial(M):,} permutations"
    if M < FEW_SUBSETS and p_random <= 1 / (PERMUTATIONS + 1):
        return f"≤ {1 / (PERMUTATIONS + 1):.2g}, the least that {PERMUTATIONS:,} permutations can show"
    return f"{p_random:.2g}"


def flipped_z(M: int, n: int) -> float:
    """Return the largest `z_random` at which a significantly negative LDS suggests scores with the wrong sign.

    Random scores correlate by chance with the effects of n examples, so over random files the standard deviation of `z_random` is
    up to ``sqrt(1 + M / n)``. The limit is -3 times this number. If M < `FEW_SUBSETS` and M <= n, this limit would find too few
    files with the wrong sign. The limit is then 0, so that only the p-value decides.
    """
    return 0.0 if M < FEW_SUBSETS and n >= M else -3 * math.sqrt(1 + M / n)


def unit_rows(ranking: Ranking | CompactRanking) -> NDArray[Any]:
    """Return the centred ranks with each row scaled to unit length, (b, M); the row of a constant list is 0.

    For fewer than `FEW_SUBSETS` subsets the result is float64, rounded to multiples of 1 / `GRID`; otherwise float32.
    """
    scaled_bM = scaled_rows(ranking)
    return np.rint(scaled_bM * GRID) / GRID if scaled_bM.shape[1] < FEW_SUBSETS else scaled_bM.astype(np.float32)


def scaled_rows(ranking: Ranking | CompactRanking) -> NDArray[np.float64]:
    """Return the centred ranks with each row scaled to unit length, float64 (b, M); the row of a constant list is 0."""
    length_b = np.sqrt(ranking.squares_b)
    return np.asarray(ranking.ranks_bM / np.where(length_b == 0, 1.0, length_b)[:, None])


@lru_cache(maxsize=8)
def _permuted_diagonals(M: int) -> NDArray[np.intp]:
    """Return the flat indices of the diagonal of an (M, M) array after permutations of its columns, (P, M).

    The permutations are always the same; the first is the identity.
    """
    if M <= MAX_ALL_PERMUTED:
        orders_PM = np.array(list(permutations(range(M))))
    else:
        random_PM = np.random.default_rng(M).random((PERMUTATIONS, M))
        orders_PM = np.vstack([np.arange(M), random_PM.argsort(axis=1, kind="stable")])
    diagonals_PM: NDArray[np.intp] = M * np.arange(M) + orders_PM
    return diagonals_PM
