"""Ground truth: the subsets that models were trained on, and the margins that they reached.

Legend: M subsets, R runs, n training examples, N targets, b targets of one block, t chosen targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from ldsboard import ceiling
from ldsboard.bundle import Bundle
from ldsboard.cache import pulled
from ldsboard.grid import to_grid
from ldsboard.margins import mean_over_runs, read_margins
from ldsboard.masks import read_masks
from ldsboard.parallel import map_in_order, usable_processors
from ldsboard.parts import Part, check_rankable, fingerprint
from ldsboard.products import product_with
from ldsboard.result import Result, TargetBlock, TargetSums
from ldsboard.scores import check_shape, read_scores
from ldsboard.significance import ChanceSpread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.headers import ScoreArray

MAX_BLOCK_TARGETS = 512
"""Targets of a block: enough for the matrix product to run at speed."""

MAX_BLOCK_BYTES = 2**26
"""What the blocks of all threads may take together: their part of the scores on its grid, and the predictions."""

MIN_THREADED_PRODUCTS = 10**7
"""Multiplications below which starting threads takes longer than they save."""

MAX_RANKED_PARTS = 8
"""Parts of the subsets whose ranks are kept; the one ranked first makes room."""

ALL = {"all": slice(None)}


class GroundTruth:
    """Subsets and margins, ranked once and scored against many times.

    Beside the margins it holds about ``M (9 n + 8 N)`` bytes, and ``20 M N`` for ranks once they are scored against.

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
        self.margins_MRN = read_margins(margins, *self.masks_Mn.shape)
        self.margins_MN = mean_over_runs(self.margins_MRN)
        self._product = product_with(self.masks_Mn, device)
        self._ranked: dict[bytes, Part] = {}
        check_rankable(self.margins_MN)

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

    def rank(self, splits: Mapping[str, slice] = ALL) -> None:
        """Rank the margins of these parts of the subsets now, rather than when they are first scored against."""
        self._rank_all(splits)

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
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}. Leave it out to use all processors.")
        scores_nN = read_scores(scores)
        check_shape(scores_nN.shape, self.n_train, self.n_targets)
        parts = self._rank_all(ALL if splits is None else splits)
        results = self._score_parts(scores_nN, parts, threads or usable_processors())
        return results["all"] if splits is None else results

    def _score_parts(self, scores_nN: ScoreArray, parts: dict[str, Part], threads: int) -> dict[str, Result]:
        M, N = self.margins_MN.shape
        fitting = MAX_BLOCK_BYTES // (8 * threads * (self.n_train + M))
        targets = max(1, min(MAX_BLOCK_TARGETS, fitting, -(-N // threads)))

        def score_block(first: int) -> dict[str, TargetBlock]:
            grid = to_grid(scores_nN, slice(first, min(first + targets, N)))
            predictions_bM = self._product(grid.whole_nb)
            return {name: part.score_block(predictions_bM, grid, first) for name, part in parts.items()}

        sums = {name: TargetSums.empty(part.size, N) for name, part in parts.items()}
        chances = {name: ChanceSpread(part.chance) for name, part in parts.items()}
        blocks = range(0, N, targets)
        small = self.n_train * M * N < MIN_THREADED_PRODUCTS
        for found in map(score_block, blocks) if small else map_in_order(score_block, blocks, threads):
            for name, block in found.items():
                sums[name].add(block)
                chances[name].add(block.unit_bM, block.columns)
        return {
            name: sums[name].result(chances[name].value(), part.duplicates, part.fingerprint)
            for name, part in parts.items()
        }

    def predict(self, scores: Any, targets: Any, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return what `scores` predict of some targets: for every subset, the sum of the scores of its examples.

        Parameters
        ----------
        scores
            As in `score`.
        targets
            Indices of t targets.
        rows
            Which subsets; by default all.

        Returns
        -------
        numpy.ndarray
            float64 (t, M): the exact sums of scores on their grid, whose order is what the LDS compares; infinite beyond float64.

        Raises
        ------
        ProblemError
            A ValueError: as in `score`; scores of other targets than those asked for need not be finite.
        """
        scores_nN = read_scores(scores)
        check_shape(scores_nN.shape, self.n_train, self.n_targets)
        chosen_t = np.asarray(targets, dtype=np.intp)
        step = max(1, MAX_BLOCK_BYTES // (8 * (self.n_train + len(self.masks_Mn))))
        blocks = []
        for start in range(0, chosen_t.size, step):
            grid = to_grid(scores_nN, chosen_t[start : start + step])
            with np.errstate(over="ignore"):
                blocks.append(np.ldexp(self._product(grid.whole_nb)[:, rows], -grid.exponent_b[:, None]))
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.masks_Mn[rows])))

    def noise_ceiling(self, rows: slice = slice(None)) -> ceiling.NoiseCeiling:
        """Estimate what no method can be expected to exceed, from R >= 2 runs; see `ldsboard.ceiling.noise_ceiling`."""
        return ceiling.noise_ceiling(self.margins_MRN[rows])

    def margin_spectrum(self, rows: slice = slice(None)) -> ceiling.MarginSpectrum:
        """Return how alike the targets are, and so what random scores reach; see `ldsboard.ceiling.MarginSpectrum`."""
        return ceiling.margin_spectrum(self.margins_MN[rows])

    def fingerprint(self, rows: slice = slice(None)) -> str:
        """Return what identifies these subsets and margins, in the `Result` of the same rows too; raise what scoring would."""
        check_rankable(self.margins_MN[rows])
        return fingerprint(self.masks_Mn[rows], self.margins_MN[rows])

    def _rank_all(self, splits: Mapping[str, slice]) -> dict[str, Part]:
        if not isinstance(splits, Mapping) or not all(isinstance(rows, slice) for rows in splits.values()):
            raise ValueError(
                f"splits: expected slices by name, such as {{'public': slice(0, 200)}}, got {splits!r}. "
                "For one part of the subsets, give it a name."
            )
        return {name: self._rank(rows) for name, rows in splits.items()}

    def _rank(self, rows: slice) -> Part:
        """Rank the margins of some subsets, or return what was ranked before."""
        key = np.arange(len(self.masks_Mn))[rows].tobytes()
        if key not in self._ranked:
            if len(self._ranked) == MAX_RANKED_PARTS:
                del self._ranked[next(iter(self._ranked))]
            self._ranked[key] = Part.of(self.masks_Mn, self.margins_MN, rows)
        return self._ranked[key]
