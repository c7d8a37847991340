"""Round margins to float32, the type of published margins, without losing their order.

Legend: M subsets, R runs, N targets, b targets of one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldsboard.arrays.margins import mean_over_runs
from ldsboard.core.ranking import rank_rows, spearman
from ldsboard.counts import count
from ldsboard.importing.tables import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_RANK_LOSS = 1e-6
"""Largest distance from 1 of the rank correlation between exact and rounded margins of one run, if there are many subsets."""

MAX_ERROR = 1e-3
"""Largest error of the mean over runs, in standard deviations of the mean over subsets."""

BLOCK = 256
LARGEST = float(np.finfo(np.float32).max)


class Rounded(NamedTuple):
    """Margins as float32 (M, R, N); whether rounding changed any; and the number of targets with new ties."""

    margins_MRN: NDArray[np.float32]
    changed: bool
    tied: int


def round_margins(path: Path, margins_MRN: NDArray[np.floating], *, rescale: bool) -> Rounded:
    """Round margins to float32.

    Parameters
    ----------
    path
        File of the margins, for messages.
    margins_MRN
        Finite margins, float32 or float64, (M, R, N).
    rescale
        Whether to shift and scale the margins of each target first, see `rescaled`.

    Raises
    ------
    TableError
        The margins exceed the range of float32. Or rounding makes too many margins of one run and target equal: the rank
        correlation with the exact margins is below ``1 - max(MAX_RANK_LOSS, 7 / (M**3 - M))``, where the second number allows
        two ties. Or the mean over runs changes by more than `MAX_ERROR`, as if large margins of two runs cancel out. The message
        names a target, and the option ``--rescale`` if this option helps.
    """
    exact_MRN = rescaled(margins_MRN) if rescale else margins_MRN
    if np.abs(exact_MRN).max() > LARGEST:
        raise TableError(f"The margins in {path} exceed the range of float32. {_advice(margins_MRN)}")
    rounded_MRN = exact_MRN.astype(np.float32)
    if np.array_equal(exact_MRN, rounded_MRN):
        return Rounded(rounded_MRN, changed=False, tied=0)
    loss_N = rank_loss(exact_MRN, rounded_MRN)
    lost = lost_targets(exact_MRN, rounded_MRN, loss_N)
    if lost.size:
        one_MR = margins_MRN[:, :, lost[0]]
        raise TableError(
            f"{path}: float32, the type of published margins, cannot hold the order of the margins of "
            f"{count(lost.size, 'target')}, such as target {lost[0]} with margins from {one_MR.min():.9g} to {one_MR.max():.9g}. "
            + ("Leave out these targets." if rescale else _advice(margins_MRN))
        )
    return Rounded(rounded_MRN, changed=True, tied=int((loss_N > 0).sum()))


def rescaled(margins_MRN: NDArray[np.floating]) -> NDArray[np.float64]:
    """Shift the margins of each run and target so that their median is 0, and divide those of each target by a power of two.

    The largest magnitude of a target becomes at least 0.5 and below 1, unless all its margins become 0. The order of the
    margins stays within every run, and in the mean over runs, because a run is shifted by one number for all subsets.
    """
    exact_MRN = _scaled(margins_MRN.astype(np.float64))
    medians_RN: NDArray[np.float64] = np.median(exact_MRN, axis=0)
    return _scaled(exact_MRN - medians_RN)


def lost_targets(
    exact_MRN: NDArray[np.floating], rounded_MRN: NDArray[np.float32], loss_N: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the targets, ascending, whose margins `round_margins` refuses to round; `loss_N` is the result of `rank_loss`."""
    exact_MN, M = mean_over_runs(exact_MRN), len(exact_MRN)
    error_N = np.abs(mean_over_runs(rounded_MRN) - exact_MN).max(axis=0)
    limit = max(MAX_RANK_LOSS, 7 / (M**3 - M)) if M > 1 else 1.0
    differ_N = (exact_MN != exact_MN[0]).any(axis=0)
    return np.flatnonzero(differ_N & ((loss_N > limit) | (error_N > MAX_ERROR * exact_MN.std(axis=0))))


def rank_loss(exact_MRN: NDArray[np.floating], rounded_MRN: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how far the rank correlation of exact and rounded margins is from 1, float64 (N,): of the worst run of each target.

    The loss is 0 if all ranks are equal. Rounding gives other ranks only by making margins equal.
    """
    _, R, N = exact_MRN.shape
    losses_RN = np.zeros((R, N))
    for run in range(R):
        for first in range(0, N, BLOCK):
            block = slice(first, first + BLOCK)
            exact, rounded = (
                rank_rows(margins[:, run, block].T.astype(np.float64)) for margins in (exact_MRN, rounded_MRN)
            )
            differ_b = (exact.ranks_bM != rounded.ranks_bM).any(axis=1)
            losses_RN[run, block] = np.where(differ_b, 1 - spearman(exact, rounded), 0)
    losses_N: NDArray[np.float64] = losses_RN.max(axis=0)
    return losses_N


def _scaled(margins_MRN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the margins of each target by the power of two after which their largest magnitude is in [0.5, 1)."""
    _, exponent_N = np.frexp(np.abs(margins_MRN).max(axis=(0, 1)))
    scaled_MRN: NDArray[np.float64] = np.ldexp(margins_MRN, -exponent_N)
    return scaled_MRN


def _advice(margins_MRN: NDArray[np.floating]) -> str:
    """Return the hint for margins that float32 cannot hold: the option to rescale, if float32 can then hold all of them."""
    exact_MRN = rescaled(margins_MRN)
    rounded_MRN = exact_MRN.astype(np.float32)
    if lost_targets(exact_MRN, rounded_MRN, rank_loss(exact_MRN, rounded_MRN)).size:
        return "Leave out these targets."
    return "Add --rescale, which shifts and scales the margins of each target. Their order, on which the LDS depends, stays."
