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
from ldsboard.margins import check_margins_differ, margins_array, read_margins
from ldsboard.masks import count_duplicates, pack_masks, read_masks
from ldsboard.problems import ProblemError
from ldsboard.ranking import MAX_SUBSETS, Ranking, rank_rows, spearman, spearman_influence
from ldsboard.result import Result, TargetSums
from ldsboard.scores import check_shape, read_scores
from ldsboard.significance import ChanceSpread, unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ldsboard.formats import ScoreArray

BLOCK_TARGETS = 128
"""Targets scored at a time: enough for the matrix product to run at speed, few enough to stay in tens of megabytes."""

ALL = {"all": slice(None)}


@dataclass(frozen=True)
class RankedRows:
    """Some of the subsets, with all of the scoring that does not depend on scores."""

    rows: NDArray[np.intp]
    margins: Ranking
    variance_NM: NDArray[np.float64]
    unit_NM: NDArray[np.float32]
    largest_subset: int
    duplicates: int
    fingerprint: str

    def score_block(
        self,
        predictions_bM: NDArray[np.float64],
        rounded_b: NDArray[np.bool_],
        columns: slice,
        sums: TargetSums,
        chance: ChanceSpread,
    ) -> None:
        """Score a block of targets, from their predictions for all subsets, into `sums` and `chance`."""
        predictions_bM = np.ascontiguousarray(predictions_bM[:, self.rows])
        margins = _rows_of(self.margins, columns)
        ranking = rank_rows(predictions_bM)
        sums.rho_N[columns] = spearman(ranking, margins)
        sums.constant_N[columns] = ranking.squares_b == 0
        sums.add_influence(spearman_influence(ranking, margins, self.variance_NM[columns]), columns)
        # Relative to the first prediction, so that equal ones have no spread at all.
        spread_b = (predictions_bM - predictions_bM[:, :1]).std(axis=1)
        lossy_b = rounded_b & (spread_b > 0)
        sums.grid_loss_N[columns][lossy_b] = self.largest_subset / 2 / spread_b[lossy_b]
        chance.add(unit_rows(ranking), columns)


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

    Raises
    ------
    ProblemError
        A ValueError: shapes that do not fit, margins that are not finite, constant margins (their targets are named), fewer
        than 2 or more than 50,000 subsets.
    """

    def __init__(self, masks: Any, margins: Any, *, n_train: int | None = None, packed: bool = False) -> None:
        self.masks_Mn = read_masks(masks, n_train, packed=packed)
        self.margins_MRN = read_margins(margins, len(self.masks_Mn))
        self.margins_MN = self.margins_MRN.mean(axis=1, dtype=np.float64)
        self._weights_nM = np.asfortranarray(self.masks_Mn.T, dtype=np.float64)
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
    def score(self, scores: Any) -> Result: ...
    @overload
    def score(self, scores: Any, splits: Mapping[str, slice]) -> dict[str, Result]: ...
    def score(self, scores: Any, splits: Mapping[str, slice] | None = None) -> Result | dict[str, Result]:
        """Compute the linear datamodeling score of `scores`.

        Parameters
        ----------
        scores
            (n, N), anything with ``__array__`` or DLPack, or the path of a ``.npy`` file: how much the presence of each
            training example raises the margin of each target.
        splits
            Names of parts of the subsets, as slices; one matrix product serves all of them.

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
        results = self._score_parts(scores_nN, parts)
        return results["all"] if splits is None else results

    def _score_parts(self, scores_nN: ScoreArray, parts: dict[str, RankedRows]) -> dict[str, Result]:
        N = self.n_targets
        sums = {name: TargetSums.empty(part.rows.size, N) for name, part in parts.items()}
        chances = {name: ChanceSpread(part.unit_NM) for name, part in parts.items()}
        for start in range(0, N, BLOCK_TARGETS):
            columns = slice(start, min(start + BLOCK_TARGETS, N))
            grid_bn, rounded_b = to_grid(scores_nN, columns)
            predictions_bM = grid_bn @ self._weights_nM
            for name, part in parts.items():
                part.score_block(predictions_bM, rounded_b, columns, sums[name], chances[name])
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
            self._ranked[key] = self._rank_rows(picked)
        return self._ranked[key]

    def _rank_rows(self, rows: NDArray[np.intp]) -> RankedRows:
        if not 2 <= rows.size <= MAX_SUBSETS:  # noqa: PLR2004
            raise ProblemError(
                "masks.invalid",
                expected=f"2 to {MAX_SUBSETS} subsets",
                got=str(rows.size),
                hint="Ranks need at least two subsets; above the limit their sums would no longer be exact.",
            )
        masks_Mn, margins_MN = self.masks_Mn[rows], self.margins_MN[rows]
        check_margins_differ(margins_MN)
        margins = rank_rows(np.ascontiguousarray(margins_MN.T))
        digest = hashlib.sha256(pack_masks(masks_Mn).tobytes() + np.ascontiguousarray(margins_MN).tobytes())
        return RankedRows(
            rows,
            margins,
            margins.variance_influence(),
            unit_rows(margins),
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


def _rows_of(ranking: Ranking, rows: slice) -> Ranking:
    """Return the ranking of a contiguous part of the rows."""
    low, high = np.searchsorted(ranking.tied_t, (rows.start, rows.stop))
    return Ranking(
        ranking.ranks_bM[rows],
        ranking.order_bM[rows],
        ranking.tied_t[low:high] - rows.start,
        ranking.first_tM[low:high],
        ranking.last_tM[low:high],
        ranking.squares_b[rows],
    )
