"""Ground truth: the subsets that models were trained on, and the margins that they reached.

Legend: M subsets, R runs, n training examples, N targets, b targets of one block.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from ldsboard import ceiling
from ldsboard.bundle import Bundle
from ldsboard.cache import pulled
from ldsboard.grid import to_grid
from ldsboard.margins import check_margins_differ, margins_array, mean_over_runs, read_margins
from ldsboard.masks import count_duplicates, pack_masks, read_masks
from ldsboard.parallel import in_order, usable_processors
from ldsboard.problems import ProblemError
from ldsboard.products import product_with
from ldsboard.ranking import MAX_SUBSETS, Ranking, rank_integers, rank_rows, spearman, spearman_influence
from ldsboard.result import Result, TargetBlock, TargetSums
from ldsboard.scores import check_shape, read_scores
from ldsboard.significance import ChanceSpread, MarginRanks, unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ldsboard.formats import ScoreArray

MOST_TARGETS = 512
"""Targets of a block: enough for the matrix product to run at speed."""

BLOCK_BYTES = 2**26
"""What the blocks of all threads may take together: their part of the scores on its grid, and the predictions."""

TILE_NUMBERS = 2**16
"""Predictions ranked at a time: few enough for the steps of ranking to stay in the processor's cache, and for a sum of influences
on their grid to stay exact in float64."""

SMALL = 10**7
"""Multiplications below which starting threads takes longer than they save."""

ALL = {"all": slice(None)}


@dataclass(frozen=True)
class RankedRows:
    """Some of the subsets, with all of the scoring that does not depend on scores."""

    rows: slice
    margins: Ranking
    chance: MarginRanks
    largest_subset: int
    duplicates: int
    fingerprint: str

    def score_block(self, predictions_bM: NDArray[np.float64], rounded_b: NDArray[np.bool_], first: int) -> TargetBlock:
        """Score a block of targets, the first of which is `first`, from their predictions for all subsets."""
        b = len(predictions_bM)
        block = TargetBlock.empty(slice(first, first + b), self.chance.unit_NM.shape[1])
        step = max(1, TILE_NUMBERS // self.chance.unit_NM.shape[1])
        for start in range(0, b, step):
            tile = slice(start, min(start + step, b))
            predictions_tM = predictions_bM[tile, self.rows]
            ranking = rank_integers(predictions_tM)
            margins = self.margins.rows(first + tile.start, first + tile.stop)
            block.add(tile, ranking, spearman(ranking, margins), spearman_influence(ranking, margins))
            if rounded_b[tile].any():
                # Relative to the first prediction, so that equal ones have no spread at all.
                spread_t = (predictions_tM - predictions_tM[:, :1]).std(axis=1)
                lossy_t = rounded_b[tile] & (spread_t > 0)
                block.grid_loss_b[tile][lossy_t] = self.largest_subset / 2 / spread_t[lossy_t]
        return block


class GroundTruth:
    """Subsets and margins, ranked once and scored against many times.

    Parameters
    ----------
    masks
        bool or 0/1, (M, n), 1 where the example is in the training subset; or M index lists, with `n_train`; or, with
        `packed`, packed bits.
    margins
        (M, N), or (M, R, N) for R runs, whose mean in float64 is what scores are ranked against.
    n_train
        Number of training examples, where `masks` does not tell.
    packed
        Whether `masks` are packed bits, uint8 (M, ceil(n / 8)), little bit order; needs `n_train`.
    device
        Where the matrix product is computed: by numpy unless a torch device is named, such as ``"cuda"``, which needs torch and
        float64 there. The results are the same bits.

    Raises
    ------
    ProblemError
        A ValueError: shapes that do not fit, margins that are not finite, constant margins (their targets are named), fewer
        than 2 or more than 50,000 subsets.
    """

    def __init__(
        self,
        masks: Any,
        margins: Any,
        *,
        n_train: int | None = None,
        packed: bool = False,
        device: str | None = None,
    ) -> None:
        self.masks_Mn = read_masks(masks, n_train, packed=packed)
        self.margins_MRN = read_margins(margins, len(self.masks_Mn))
        self.margins_MN = mean_over_runs(self.margins_MRN)
        self._product = product_with(self.masks_Mn, device)
        self._ranked: dict[bytes, RankedRows] = {}
        self._rank(slice(None))

    @classmethod
    def from_pulled(cls, name: str, *, server: str | None = None) -> Self:
        """Return the public part of a benchmark that was fetched by ``ldsboard pull NAME``; nothing is downloaded.

        Parameters
        ----------
        name
            Name of the benchmark; its newest pulled version is used.
        server
            Where it was pulled from; by default ``LDSBOARD_SERVER``.

        Raises
        ------
        BundleError
            A ValueError: it was not pulled yet, or was altered since.
        """
        bundle = Bundle.open(pulled(name, server))
        return cls(bundle.masks_Mn, bundle.margins_MRN)

    def __repr__(self) -> str:
        M, R, N = self.margins_MRN.shape
        return f"GroundTruth(M={M} subsets, R={R} runs, n={self.n_train} training examples, N={N} targets)"

    @property
    def n_train(self) -> int:
        """Number of training examples n."""
        return int(self.masks_Mn.shape[1])

    @property
    def n_targets(self) -> int:
        """Number of targets N."""
        return int(self.margins_MN.shape[1])

    @overload
    def score(self, scores: Any, *, threads: int | None = None) -> Result: ...
    @overload
    def score(self, scores: Any, splits: Mapping[str, slice], *, threads: int | None = None) -> dict[str, Result]: ...
    def score(
        self, scores: Any, splits: Mapping[str, slice] | None = None, *, threads: int | None = None
    ) -> Result | dict[str, Result]:
        """Compute the linear datamodeling score of `scores`.

        Parameters
        ----------
        scores
            (n, N), anything with ``__array__`` or DLPack, or the path of a ``.npy`` file: how much the presence of each
            training example raises the margin of each target.
        splits
            Names of parts of the subsets, as slices; one matrix product serves all of them.
        threads
            How many threads may work; by default as many as there are processors, up to 8. The result is the same.

        Returns
        -------
        Result or dict of Result
            Over all subsets, or one for each part.

        Raises
        ------
        ProblemError
            A ValueError: wrong shape (saying so where it is transposed), unsupported type, or scores that are not finite.
        """
        scores_nN = read_scores(scores)
        check_shape(scores_nN.shape, self.n_train, self.n_targets)
        parts = {name: self._rank(rows) for name, rows in (ALL if splits is None else splits).items()}
        results = self._score_parts(scores_nN, parts, threads or usable_processors())
        return results["all"] if splits is None else results

    def _score_parts(self, scores_nN: ScoreArray, parts: dict[str, RankedRows], threads: int) -> dict[str, Result]:
        M, N = self.margins_MN.shape
        fitting = BLOCK_BYTES // (8 * threads * (self.n_train + M))
        targets = max(1, min(MOST_TARGETS, fitting, -(-N // threads)))

        def score_block(first: int) -> dict[str, TargetBlock]:
            grid_nb, rounded_b = to_grid(scores_nN, slice(first, min(first + targets, N)))
            predictions_bM = self._product(grid_nb)
            return {name: part.score_block(predictions_bM, rounded_b, first) for name, part in parts.items()}

        sums = {name: TargetSums.empty(part.chance.unit_NM.shape[1], N) for name, part in parts.items()}
        chances = {name: ChanceSpread(part.chance) for name, part in parts.items()}
        blocks = range(0, N, targets)
        small = self.n_train * M * N < SMALL
        for found in map(score_block, blocks) if small else in_order(score_block, blocks, threads):
            for name, block in found.items():
                sums[name].add(block)
                chances[name].add(block.unit_bM, block.columns)
        return {
            name: sums[name].result(chances[name].value(), part.duplicates, part.fingerprint)
            for name, part in parts.items()
        }

    def noise_ceiling(self, rows: slice = slice(None)) -> ceiling.NoiseCeiling:
        """Estimate what no method can be expected to exceed, from R >= 2 runs; see `ldsboard.ceiling.noise_ceiling`."""
        return ceiling.noise_ceiling(self.margins_MRN[rows])

    def margin_spectrum(self, rows: slice = slice(None)) -> ceiling.MarginSpectrum:
        """Return how alike the targets are, and so what random scores reach; see `ldsboard.ceiling.MarginSpectrum`."""
        return ceiling.margin_spectrum(self.margins_MN[rows])

    def fingerprint(self, rows: slice = slice(None)) -> str:
        """Return what identifies these subsets and margins, in the `Result` of the same rows too."""
        return self._rank(rows).fingerprint

    def _rank(self, rows: slice) -> RankedRows:
        """Rank the margins of some subsets, or return what was ranked before."""
        picked = np.arange(len(self.masks_Mn))[rows]
        key = picked.tobytes()
        if key not in self._ranked:
            self._ranked[key] = self._rank_rows(rows)
        return self._ranked[key]

    def _rank_rows(self, rows: slice) -> RankedRows:
        masks_Mn, margins_MN = self.masks_Mn[rows], self.margins_MN[rows]
        if not 2 <= len(masks_Mn) <= MAX_SUBSETS:  # noqa: PLR2004
            raise ProblemError(
                "masks.invalid",
                expected=f"2 to {MAX_SUBSETS} subsets",
                got=str(len(masks_Mn)),
                hint="Ranks need at least two subsets; above the limit their sums would no longer be exact.",
            )
        check_margins_differ(margins_MN)
        margins = rank_rows(np.ascontiguousarray(margins_MN.T))
        digest = hashlib.sha256(pack_masks(masks_Mn).tobytes() + np.ascontiguousarray(margins_MN).tobytes())
        return RankedRows(
            rows,
            margins,
            MarginRanks(unit_rows(margins)),
            largest_subset=int(masks_Mn.sum(axis=1).max()),
            duplicates=count_duplicates(masks_Mn),
            fingerprint=digest.hexdigest(),
        )


def lds(scores: Any, masks: Any, margins: Any, *, packed: bool = False) -> Result:
    """Compute the linear datamodeling score (LDS) of attribution scores, exactly, with its uncertainty.

    For every target the scores of the examples in each subset are summed; Spearman's rank correlation between these
    predictions and the margins of the models trained on the subsets is taken; the LDS is its mean over targets (Park et al.
    2023, "TRAK: Attributing Model Behavior at Scale", section 2).

    Parameters
    ----------
    scores
        (n, N): how much the presence of each of n training examples raises the margin of each of N targets. Anything with
        ``__array__`` or DLPack (torch tensors on the CPU too), or the path of a ``.npy`` file. Where n equals N a
        transposed array cannot be told from a correct one.
    masks
        The subsets: bool or any 0/1 array of shape (M, n), 1 where the example was trained on; or M index lists.
    margins
        Margins of the trained models on the targets, (M, N), or (M, R, N) for R runs, whose mean is used.
    packed
        Whether `masks` are packed bits, uint8 (M, ceil(n / 8)), little bit order.

    Returns
    -------
    Result
        The LDS, its standard error and interval, per-target values, and what a comparison needs.

    Raises
    ------
    ProblemError
        A ValueError: shapes that do not fit, values that are not finite, or constant margins.

    See Also
    --------
    GroundTruth : the same for many arrays of scores against one set of subsets.
    compare : whether two results differ by more than chance.

    Examples
    --------
    >>> import numpy as np
    >>> from ldsboard import lds
    >>> rng = np.random.default_rng(0)
    >>> effects = rng.normal(size=(60, 5))                 # what each example does to each target
    >>> masks = rng.random((200, 60)) < 0.5                # random halves
    >>> margins = masks @ effects + rng.normal(size=(200, 5))
    >>> result = lds(effects, masks, margins)
    >>> round(result.lds, 3), round(result.std_error, 3)
    (0.968, 0.003)
    """
    scores_nN = read_scores(scores)
    array = margins_array(margins)
    # Without this, transposed scores would make the masks look wrong, and not themselves.
    n, N = scores_nN.shape
    targets = array.shape[-1] if array.ndim else 0
    check_shape((n, N), N if n == targets != N else n, targets if n == targets else N)
    truth = GroundTruth(masks, array, n_train=n, packed=packed)
    return truth.score(scores_nN)
