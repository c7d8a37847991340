"""A ranked part of the subsets: the part of scoring that does not depend on the scores, and the scoring of a block of targets.

Legend: M subsets, n training examples, N targets, b targets of one block, t of one tile.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ldsboard.arrays.margins import check_margins_differ
from ldsboard.arrays.masks import count_duplicates, pack_masks
from ldsboard.core.ranking import MAX_SUBSETS, Ranking, rank_integers, rank_rows, spearman, spearman_influence
from ldsboard.core.result import TargetBlock
from ldsboard.core.significance import MarginRanks
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.grid import GridBlock

TILE_NUMBERS = 2**16
"""Predictions ranked at a time: few enough that ranking stays in the processor's cache, and that a sum of influences on their
grid is exact in float64."""


@dataclass(frozen=True)
class RankedSubsets:
    """Some of the subsets, with their margins ranked.

    Attributes
    ----------
    rows
        Rows of these subsets among all subsets.
    margins
        Ranks of the margins, one row for each target.
    chance
        Ranks of the margins, prepared for `ChanceSpread`.
    largest_subset
        Number of training examples in the largest subset.
    duplicates
        Number of subsets that repeat an earlier one.
    fingerprint
        See `fingerprint`.
    """

    rows: slice
    margins: Ranking
    chance: MarginRanks
    largest_subset: int
    duplicates: int
    fingerprint: str

    @classmethod
    def of(cls, masks_Mn: NDArray[np.bool_], margins_MN: NDArray[np.float64], rows: slice) -> Self:
        """Rank the margins of the subsets in `rows`."""
        masks_Mn, margins_MN = masks_Mn[rows], margins_MN[rows]
        check_rankable(margins_MN)
        margins = rank_rows(np.ascontiguousarray(margins_MN.T))
        return cls(
            rows,
            margins,
            MarginRanks.of(margins),
            largest_subset=int(masks_Mn.sum(axis=1).max()),
            duplicates=count_duplicates(masks_Mn),
            fingerprint=fingerprint(masks_Mn, margins_MN),
        )

    @property
    def size(self) -> int:
        """Number of subsets."""
        return int(self.margins.ranks_bM.shape[1])

    def score_block(self, predictions_bM: NDArray[np.float64], grid: GridBlock, first: int) -> TargetBlock:
        """Score a block of b neighbouring targets.

        Parameters
        ----------
        predictions_bM
            Predictions for all subsets, grid integers as float64 (b, M).
        grid
            The scores of the block on their grids.
        first
            Index of the first target.
        """
        n, b = grid.whole_nb.shape
        block = TargetBlock.empty(slice(first, first + b), self.size)
        # Rounding changes a sum by at most half a step for each score of the largest subset; sums of typical scores over random
        # halves of the examples spread by sqrt(n) / 2 times their size. The ratio of the two is the loss.
        block.grid_loss_b[:] = self.largest_subset / math.sqrt(n) / grid.typical_b
        step = max(1, TILE_NUMBERS // self.size)
        for start in range(0, b, step):
            tile = slice(start, min(start + step, b))
            predictions_tM = predictions_bM[tile, self.rows]
            ranking = rank_integers(predictions_tM)
            margins = self.margins.rows(first + tile.start, first + tile.stop)
            block.add(tile, ranking, spearman(ranking, margins), spearman_influence(ranking, margins))
            if grid.rounded_b[tile].any():
                # Relative to the first prediction, so that equal predictions have a spread of exactly 0.
                spread_t = (predictions_tM - predictions_tM[:, :1]).std(axis=1)
                lossy_t = np.flatnonzero(grid.rounded_b[tile] & (spread_t > 0))
                loss_t = self.largest_subset / 2 / spread_t[lossy_t]
                block.grid_loss_b[start + lossy_t] = np.maximum(loss_t, block.grid_loss_b[start + lossy_t])
        return block


def fingerprint(masks_Mn: NDArray[np.bool_], margins_MN: NDArray[np.float64]) -> str:
    """Return the sha256 that identifies subsets and margins, in hexadecimal."""
    return hashlib.sha256(pack_masks(masks_Mn).tobytes() + np.ascontiguousarray(margins_MN).tobytes()).hexdigest()


def check_rankable(margins_MN: NDArray[np.float64]) -> None:
    """Raise a ProblemError for margins of too few or too many subsets, or of a target with equal margins for all subsets."""
    M = len(margins_MN)
    if not 2 <= M <= MAX_SUBSETS:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "masks.invalid",
            expected=f"2 to {MAX_SUBSETS} subsets",
            got=str(M),
            hint="Ranks need at least two subsets; above the limit their sums would not be exact.",
        )
    check_margins_differ(margins_MN)
