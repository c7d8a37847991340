"""Rank the margins of some subsets once, and score blocks of targets against these ranks.

Legend: M subsets, n training examples, N targets, b targets of one block, t targets of one tile of a block.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from ldsboard.arrays.margins import check_margins_differ
from ldsboard.core import kernel
from ldsboard.core.chance import MarginRanks
from ldsboard.core.ranking import MAX_SUBSETS, CompactRanking, rank_integers, spearman, spearman_influence
from ldsboard.core.result import INFLUENCE_UNITS, TargetBlock
from ldsboard.core.significance import FEW_SUBSETS
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.arrays.packed import PackedMasks
    from ldsboard.core.predictions import Predictions

TILE_NUMBERS = 2**17
"""Number of predictions that are ranked at a time. It is small enough for ranking to stay in the processor's cache, and for sums
of rounded influences to be exact in float64."""


@dataclass(frozen=True)
class RankedSubsets:
    """The subsets in some rows of the masks, with ranked margins.

    Attributes
    ----------
    rows
        The rows of the masks, as a slice.
    margins
        Ranks of the margins, one row for each target.
    chance
        The same ranks in the form that `ChanceSpread` needs.
    largest_subset
        Number of training examples in the largest subset.
    duplicates
        Number of subsets that are equal to an earlier subset.
    fingerprint
        sha256 of the subsets and margins, as the function `fingerprint` computes it.
    """

    rows: slice
    margins: CompactRanking
    chance: MarginRanks
    largest_subset: int
    duplicates: int
    fingerprint: str

    @classmethod
    def of(cls, masks: PackedMasks, margins_MN: NDArray[np.float64], rows: slice) -> Self:
        """Select the subsets in `rows`, and rank the margins of these subsets.

        Raises
        ------
        ProblemError
            ``masks.invalid``: there are fewer than 2 or more than 50,000 rows.
            ``margins.invalid``: the margins of a target are equal for all rows.
        """
        masks, margins_MN = masks[rows], margins_MN[rows]
        check_rankable(margins_MN)
        margins = CompactRanking.of(margins_MN.T)
        return cls(
            rows,
            margins,
            MarginRanks.of(margins),
            largest_subset=int(masks.sizes().max()),
            duplicates=masks.duplicates(),
            fingerprint=fingerprint(masks, margins_MN),
        )

    @property
    def size(self) -> int:
        """Number of subsets."""
        return int(self.margins.ranks_bM.shape[1])

    def score_block(self, predictions: Predictions, first: int, route: kernel.Route) -> TargetBlock:
        """Score a block of b neighbouring targets, and return the results.

        Parameters
        ----------
        predictions
            Predictions of the block for all rows of the masks, not only for `rows`.
        first
            Index of the first target of the block.
        route
            The kernel or BLAS; without the kernel, numpy ranks the predictions, with the same bits.
        """
        b = len(predictions.sums_bM)
        block = TargetBlock.empty(slice(first, first + b), self.size)
        # Rounding changes a prediction by at most half a grid step for each example of the largest subset. Sums of scores of
        # typical magnitude over random halves of the examples have a standard deviation of sqrt(n) / 2 times this magnitude. The
        # grid loss is the ratio of these two numbers.
        block.grid_loss_b[:] = self.largest_subset / math.sqrt(predictions.n_train) / predictions.typical_b
        step = max(1, TILE_NUMBERS // self.size)
        for start in range(0, b, step):
            tile = slice(start, min(start + step, b))
            predictions_tM = predictions.sums_bM[tile, self.rows]
            margins = self.margins.rows(first + tile.start, first + tile.stop)
            ranked = None
            if route.name != "blas" and self.size >= FEW_SUBSETS:
                ranked = kernel.ranks(predictions_tM, margins, INFLUENCE_UNITS, variant=route.name)
            if ranked is not None:
                block.add_ranked(tile, ranked)
            else:
                ranking, expanded = rank_integers(predictions_tM), margins.expanded()
                block.add(tile, ranking, spearman(ranking, expanded), spearman_influence(ranking, expanded))
            if (rounded_t := np.flatnonzero(predictions.rounded_b[tile])).size:
                # The first prediction is subtracted, so that equal predictions have a standard deviation of exactly 0.
                rounded_tM = predictions_tM[rounded_t]
                spread_t = (rounded_tM - rounded_tM[:, :1]).std(axis=1)
                lossy_t = rounded_t[spread_t > 0]
                loss_t = self.largest_subset / 2 / spread_t[spread_t > 0]
                block.grid_loss_b[start + lossy_t] = np.maximum(loss_t, block.grid_loss_b[start + lossy_t])
        return block


def fingerprint(masks: PackedMasks, margins_MN: NDArray[np.float64]) -> str:
    """Return the sha256 of the subsets and margins together, in hexadecimal."""
    digest = hashlib.sha256(np.ascontiguousarray(masks.bits_MG).data)
    digest.update(np.ascontiguousarray(margins_MN).data)
    return digest.hexdigest()


def check_rankable(margins_MN: NDArray[np.float64]) -> None:
    """Check that the margins can be ranked.

    Raises
    ------
    ProblemError
        ``masks.invalid``: there are fewer than 2 or more than 50,000 subsets.
        ``margins.invalid``: the margins of a target are equal for all subsets.
    """
    M = len(margins_MN)
    if not 2 <= M <= MAX_SUBSETS:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "masks.invalid",
            expected=f"2 to {MAX_SUBSETS} subsets",
            got=str(M),
            hint="Ranking needs at least 2 subsets. With more subsets than the limit, sums of ranks would not be exact.",
        )
    check_margins_differ(margins_MN)
