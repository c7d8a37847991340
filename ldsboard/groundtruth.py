"""Ground truth: the subsets that models were trained on, and the margins of these models.

Legend: M subsets, R runs, n training examples, N targets, t chosen targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from ldsboard.arrays.margins import mean_over_runs, read_margins
from ldsboard.arrays.masks import read_packed
from ldsboard.arrays.scores import scores_of_shape
from ldsboard.bundle import Bundle
from ldsboard.cache import pulled_with_warning
from ldsboard.core import blocks, ceiling
from ldsboard.core.parallel import usable_processors
from ldsboard.core.predictions import predict
from ldsboard.core.products import Product
from ldsboard.core.ranked_subsets import RankedSubsets, check_rankable, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ldsboard.core.result import Result

MAX_RANKED_PARTS = 8
"""Largest number of `RankedSubsets` that are cached; the oldest is dropped first."""

ALL = {"all": slice(None)}


class GroundTruth:
    """Subsets and margins against which many arrays of scores can be evaluated.

    The first call of `score` or `rank` ranks the margins; later calls with the same rows reuse the ranks. In addition to the
    margins, an object holds about ``M (n / 4 + 8 N)`` bytes, and ``8 M N + 4 N**2`` bytes for the ranks of each of up to 8
    choices of rows, the second term only if N < M. Without the compiled kernel, and for fewer than 64 subsets, up to 64 MiB of
    masks are held as float64 too.

    Parameters
    ----------
    masks : array_like, shape (M, n), or sequence of M index lists
        The subsets: bool or 0/1, 1 where the example is in the training subset; or, with `n_train`, for each subset the indices
        of its examples; or, with `packed`, packed bits.
    margins : array_like, shape (M, N) or (M, R, N)
        Margin of the model of each subset at each target; with R runs of every subset, their mean in float64 is used.
    n_train : int, optional
        Number of training examples n; required for index lists and packed bits.
    packed : bool, default False
        Whether `masks` holds packed bits, uint8 of shape (M, ceil(n / 8)), little bit order.
    device : str, optional
        torch device for the matrix product, such as ``"cuda"``, which must support float64. By default numpy computes the
        product. LDS, standard errors, intervals and psi have the same bits on every device.

    Raises
    ------
    ProblemError
        A ValueError: the shapes do not fit, a margin is not finite, the margins of a target are equal for all subsets, or there
        are fewer than 2 or more than 50,000 subsets.
    ValueError
        torch is missing, or the device is unknown or lacks float64.

    Attributes
    ----------
    margins_MRN : numpy.ndarray
        The margins of all runs, floating point, (M, R, N).
    margins_MN : numpy.ndarray
        The mean of the margins over runs, float64 (M, N).
    """

    def __init__(
        self, masks: Any, margins: Any, *, n_train: int | None = None, packed: bool = False, device: str | None = None
    ) -> None:
        self._masks = read_packed(masks, n_train, packed=packed)
        self.margins_MRN = read_margins(margins, *self._masks.shape)
        self.margins_MN = mean_over_runs(self.margins_MRN)
        self._product = Product(self._masks, device)
        self._ranked: dict[bytes, RankedSubsets] = {}
        check_rankable(self.margins_MN)

    @classmethod
    def from_pulled(cls, name: str, *, server: str | None = None) -> Self:
        """Load a benchmark that ``ldsboard pull NAME`` has downloaded: the subsets for the public LDS, and their margins.

        Parameters
        ----------
        name : str
            Name of the benchmark; its newest pulled version is used.
        server : str, optional
            Address of the server; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``. If the benchmark was pulled only
            from another server, it is used with a warning.

        Raises
        ------
        BundleError, ProblemError
            The benchmark was not pulled, or the pulled files were altered; or `server` is not a valid address.
        """
        bundle = Bundle.open(pulled_with_warning(name, server))
        rows = bundle.manifest.public_rows
        return cls(bundle.masks[rows], bundle.margins_MRN[rows])

    def __repr__(self) -> str:
        M, R, N = self.margins_MRN.shape
        return f"GroundTruth(M={M} subsets, R={R} runs, n={self.n_train} training examples, N={N} targets)"

    @property
    def masks_Mn(self) -> NDArray[np.bool_]:
        """The subsets, bool (M, n); unpacked anew at each access, since an object holds packed bits."""
        return self._masks.unpacked()

    @property
    def n_subsets(self) -> int:
        """Number of subsets M."""
        return len(self._masks)

    @property
    def n_train(self) -> int:
        """Number of training examples n."""
        return self._masks.n

    @property
    def n_targets(self) -> int:
        """Number of targets N."""
        return int(self.margins_MN.shape[1])

    def rank(self, splits: Mapping[str, slice] = ALL) -> None:
        """Rank the margins in advance; otherwise the first call of `score` with the same `splits` ranks the margins.

        Parameters
        ----------
        splits : mapping of str to slice
            Names, and the rows of the masks that each name stands for; by default all rows.
        """
        self._rank_all(splits)

    @overload
    def score(
        self, scores: Any, *, threads: int | None = None, progress: Callable[[float], object] | None = None
    ) -> Result: ...
    @overload
    def score(
        self,
        scores: Any,
        splits: Mapping[str, slice],
        *,
        threads: int | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> dict[str, Result]: ...
    def score(
        self,
        scores: Any,
        splits: Mapping[str, slice] | None = None,
        *,
        threads: int | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> Result | dict[str, Result]:
        """Compute the linear datamodeling score of `scores`.

        Parameters
        ----------
        scores : array_like or path, shape (n, N)
            How much the presence of each of n training examples raises the margin of each of N targets: anything with
            ``__array__`` or DLPack, or the path of a file or folder in which an attribution library saved scores. If only the
            transpose of a file has this shape, the file is transposed, with a warning.
        splits : mapping of str to slice, optional
            Names, and the rows of the masks to evaluate under each name; one matrix product serves all names.
        threads : int, optional
            Largest number of threads; by default the number of usable processors, at most 8. Results do not depend on
            `threads`, except the last digits of float32 in `z_random` and `p_random`.
        progress : callable, optional
            Function that gets the fraction of the targets that are scored: a float, at most 1. It is called in this thread after
            each block of at most 256 targets; the fractions increase, and the last one is 1.0. Ranking the margins, at the first
            call, comes before the first fraction. An exception in the function stops the scoring. Results do not depend on it.

        Returns
        -------
        Result or dict of str to Result
            The result over all subsets, or with `splits` one result for each name.

        Raises
        ------
        ProblemError
            A ValueError: the scores have the wrong shape (the error says if they are transposed) or an unsupported type, or are
            not finite.
        ValueError
            `threads` is less than 1, or `splits` is not a mapping of slices.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}. Omit 'threads' to use all processors.")
        scores_nN = scores_of_shape(scores, self.n_train, self.n_targets)
        parts = self._rank_all(ALL if splits is None else splits)
        sums = blocks.score_blocks(
            scores_nN,
            parts,
            self._product,
            threads=threads or usable_processors(),
            progress=progress,
        )
        results = {
            name: sums[name].result(self.n_train, part.duplicates, part.fingerprint) for name, part in parts.items()
        }
        return results["all"] if splits is None else results

    def predict(self, scores: Any, targets: Any, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Return the predictions for some targets: the sums of the scores over the examples of each subset.

        Parameters
        ----------
        scores : array_like or path, shape (n, N)
            Scores in any form that `score` accepts.
        targets : array_like of int, shape (t,)
            Indices of the targets.
        rows : slice
            Rows of the masks; by default all rows.

        Returns
        -------
        numpy.ndarray
            float64 (t, M), for the M subsets in `rows`: exact sums of the rounded scores. These are the values that are ranked
            for the LDS. A value that overflows float64 is infinite.

        Raises
        ------
        ProblemError
            A ValueError: the scores have the wrong shape or an unsupported type, or those of the given targets are not finite.
        """
        scores_nN = scores_of_shape(scores, self.n_train, self.n_targets)
        chosen_t = np.asarray(targets, dtype=np.intp)
        if not chosen_t.size:
            return np.empty((0, len(self._masks[rows])))
        found = predict(scores_nN, chosen_t, self._product, rows)
        with np.errstate(over="ignore"):
            return np.asarray(np.ldexp(found.sums_bM, -found.exponent_b[:, None]))

    def noise_ceiling(self, rows: slice = slice(None)) -> ceiling.NoiseCeiling:
        """Estimate the LDS that no method can be expected to exceed, from R >= 2 runs of at least 64 subsets.

        See `ldsboard.core.ceiling.noise_ceiling` for the formula and the errors. `rows` are rows of the masks.

        Returns
        -------
        ldsboard.core.ceiling.NoiseCeiling
            ``value``, ``std_error`` and ``unreliable_targets``.
        """
        return ceiling.noise_ceiling(self.margins_MRN[rows])

    def margin_spectrum(self, rows: slice = slice(None)) -> ceiling.MarginSpectrum:
        """Compute the null band of random scores, and a number that bounds the gain from repeated attempts, for some rows.

        Returns
        -------
        ldsboard.core.ceiling.MarginSpectrum
            ``unrelated`` and ``shared`` are half widths of the null band for two kinds of random scores. From ``attempts``,
            `ldsboard.core.ceiling.attempt_gain` computes an upper bound on the gain.
        """
        return ceiling.margin_spectrum(self.margins_MN[rows])

    def fingerprint(self, rows: slice = slice(None)) -> str:
        """Return the sha256 of the subsets and margins in `rows`; `score` stores the same value in `Result.fingerprint`.

        Parameters
        ----------
        rows : slice
            Rows of the masks; by default all rows.

        Raises
        ------
        ProblemError
            ``masks.invalid``: there are fewer than 2 rows.
            ``margins.invalid``: the margins of a target are equal for all rows.
        """
        check_rankable(self.margins_MN[rows])
        return fingerprint(self._masks[rows], self.margins_MN[rows])

    def _rank_all(self, splits: Mapping[str, slice]) -> dict[str, RankedSubsets]:
        if not isinstance(splits, Mapping) or not all(isinstance(rows, slice) for rows in splits.values()):
            raise ValueError(
                f"splits: expected slices by name, such as {{'public': slice(0, 200)}}, got {splits!r}. "
                "A single slice needs a name too."
            )
        return {name: self._rank(rows) for name, rows in splits.items()}

    def _rank(self, rows: slice) -> RankedSubsets:
        """Return the `RankedSubsets` of the subsets in `rows`; their margins are ranked unless the cache holds the ranks."""
        key = np.arange(self.n_subsets)[rows].tobytes()
        if key not in self._ranked:
            if len(self._ranked) == MAX_RANKED_PARTS:
                del self._ranked[next(iter(self._ranked))]
            self._ranked[key] = RankedSubsets.of(self._masks, self.margins_MN, rows)
        return self._ranked[key]
