"""Turn rows of masks and margins, one for each model, into subsets (M, n) with R runs (M, R, N).

`ldsboard.importing.reading` calls five functions in this order. `mean_over_evaluations` averages the repeated evaluations of each
model. `in_order_of_subsets` sorts the rows, if several rows of margins belong to each row of the masks. `check_trained` refuses
subsets without a training example. `gather_runs` joins the rows of equal masks as the runs of one subset. `check_runs_differ`
refuses a run that is given twice.

Legend: M subsets, R runs, n training examples, N targets, P rows of the files, one row for each model.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.arrays.margins import mean_over_runs
from ldsboard.arrays.masks import pack_masks
from ldsboard.counts import count
from ldsboard.groundtruth import GroundTruth
from ldsboard.importing.origins import Origin, RowOrder
from ldsboard.importing.tables import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURE, NONE = 5.0, 4.0
"""Limits of `run_agreement`: an order of rows is accepted if its agreement is SURE or more, and that of the other below NONE."""

MAX_COMPARED = 1000
"""Largest number of subsets on which runs are compared."""


def in_order_of_subsets(origin: Origin, margins_PRN: NDArray[np.floating]) -> tuple[RowOrder, NDArray[np.floating]]:
    """Return the order of the rows, and the margins in the order of the subsets: the runs of each subset are neighbours.

    Parameters
    ----------
    origin
        The options. `origin.runs` is R, at least 2. `origin.order` is the order of the rows; with None, the agreement of the runs
        decides, see `run_agreement`.
    margins_PRN
        The margins of P = M R models in one of the orders of `RowOrder`, (P, 1, N).

    Raises
    ------
    TableError
        No order is given, and the agreement of the runs does not decide.
    """
    rows_PN, R = margins_PRN[:, 0], origin.runs
    order = origin.order
    if order is None:
        agreement = {order: run_agreement(rows_PN, R, order) for order in RowOrder}
        sure = [order for order in RowOrder if agreement[order] >= SURE]
        if len(sure) != 1 or min(agreement.values()) >= NONE:
            raise TableError(
                f"{origin.margins} has {R} rows for each row of {origin.masks}, in an order that the agreement of the runs does "
                f"not show ({agreement[RowOrder.SUBSET]:.1f} and {agreement[RowOrder.RUN]:.1f} standard deviations from chance). "
                "Add --order subset if all runs of the first subset come first, or --order run if all subsets of the first run "
                "come first."
            )
        order = sure[0]
    if order is RowOrder.RUN:
        margins_PRN = margins_PRN.reshape(R, -1, *margins_PRN.shape[1:]).swapaxes(0, 1).reshape(margins_PRN.shape)
    return order, margins_PRN


def run_agreement(rows_PN: NDArray[np.floating], R: int, order: RowOrder) -> float:
    """Return how far the agreement of runs is from chance if the rows are in the given order, in standard deviations.

    For each target, the mean over the rows of each run is subtracted first, for the runs of both orders: otherwise a run whose
    margins are all high would agree with itself in the wrong order. Then the margins of each run are scored, as predictions,
    against the margins of the next run, on at most `MAX_COMPARED` subsets. The return value is the mean of `Result.z_random` over
    these pairs of runs. The value is 0 if M is 1, or if no target has margins that differ between subsets in every run.

    Parameters
    ----------
    rows_PN
        Margins of P = M R models.
    R
        Number of runs, at least 2.
    order
        The order that is tried.
    """
    M = len(rows_PN) // R
    centred_PN = rows_PN.astype(np.float64)
    for runs_first in (True, False):
        centred_RMN = centred_PN.reshape((R, M, -1) if runs_first else (M, R, -1))
        centred_PN = (centred_RMN - centred_RMN.mean(axis=1 if runs_first else 0, keepdims=True)).reshape(rows_PN.shape)
    tried = centred_PN.reshape(R, M, -1) if order is RowOrder.RUN else centred_PN.reshape(M, R, -1).swapaxes(0, 1)
    compared = tried[:, : min(M, MAX_COMPARED)]
    varying_N = (compared != compared[:, :1]).any(axis=1).all(axis=0)
    if not varying_N.any() or M < 2:  # noqa: PLR2004 -- one subset has no order
        return 0.0
    values_RMN = compared[:, :, varying_N]
    eye = np.eye(values_RMN.shape[1], dtype=np.bool_)
    # The predictions of these scores are the scores themselves.
    distances = [GroundTruth(eye, one_MN).score(next_MN).z_random for one_MN, next_MN in pairwise(values_RMN)]
    return float(np.mean(distances))


def mean_over_evaluations(origin: Origin, margins_PRN: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return margins in which the mean of the repeated evaluations of each model takes the place of the evaluations.

    The K = `origin.evaluations` evaluations of a model are neighbours on the middle axis: (P, R K, N) becomes (P, R, N), float64.
    With K = 1, the margins are returned unchanged. Evaluations are added one by one, in their order.

    Raises
    ------
    TableError
        The length of the middle axis is not a multiple of K.
    ProblemError
        ``margins.invalid``: the sum of the evaluations overflows float64.
    """
    K, (P, columns, N) = origin.evaluations, margins_PRN.shape
    if columns % K:
        raise TableError(
            f"--evaluations {K}: expected a multiple of {K} as second of three axes in {origin.margins}, got {columns}. "
            "Stack evaluations of shape (subsets, targets) with numpy.stack(evaluations, axis=1), or correct --evaluations."
        )
    return margins_PRN if K == 1 else mean_over_runs(margins_PRN.reshape(-1, K, N)).reshape(P, columns // K, N)


def check_trained(origin: Origin, masks_Pn: NDArray[np.bool_], rows_P: NDArray[np.integer]) -> None:
    """Raise a TableError if a mask holds no training example.

    `rows_P` states for each mask its row in the file of the masks, for the message.
    """
    empty = np.unique(rows_P[~masks_Pn.any(axis=1)])
    if empty.size:
        raise TableError(
            f"{origin.masks} has {count(empty.size, 'row')} without a training example; the first is row {empty[0]}. "
            "If these models were not trained, leave out their rows. For a datamodels store, add --completed _completed.npy."
        )


def gather_runs(
    origin: Origin, masks_Pn: NDArray[np.bool_], margins_PRN: NDArray[np.floating], rows_P: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Gather rows with equal masks as the runs of one subset; return the subsets, bool (M, n), and the margins, (M, R, N).

    If `origin.runs` is 1, all masks must differ, and both arrays are returned unchanged, also margins that have several runs on
    the middle axis. Otherwise the margins must be (P, 1, N), and the subsets are in the order of their first rows. With
    `origin.completed`, a subset with fewer than R rows is left out. `rows_P` has the row of each mask in the file of the masks,
    for messages.

    Raises
    ------
    TableError
        A ValueError: the number of rows of some subset, or of runs on the middle axis, contradicts `origin.runs`.
    """
    rows_of: dict[bytes, list[int]] = {}
    for row, bits in enumerate(pack_masks(masks_Pn)):
        rows_of.setdefault(bits.tobytes(), []).append(row)
    counts = sorted({len(rows) for rows in rows_of.values()})
    if origin.runs == 1:
        if counts == [1]:
            return masks_Pn, margins_PRN
        first, second = next(rows for rows in rows_of.values() if len(rows) > 1)[:2]
        advice = (
            f"If the rows of a subset are its runs, each trained anew, give --runs {counts[-1]}."
            if len(counts) == 1
            else "Leave out each repetition in both files, and keep the first row."
        )
        raise TableError(
            f"{origin.masks} has {count(len(masks_Pn) - len(rows_of), 'row')} equal to an earlier row, "
            f"such as row {rows_P[second]}, which equals row {rows_P[first]}. {advice}"
        )
    # As in TRAK's own evaluation, a subset is left out unless all of its models were completed.
    complete = [rows for rows in rows_of.values() if len(rows) == origin.runs]
    acceptable = counts[-1] == origin.runs and (len(counts) == 1 or origin.completed is not None)
    if margins_PRN.shape[1] > 1 or not acceptable:
        raise TableError(
            f"Expected {origin.runs} rows in {origin.margins} for every subset in {origin.masks}, "
            f"got between {counts[0]} and {counts[-1]} rows, each with {count(margins_PRN.shape[1], 'run')}. Check --runs."
        )
    return masks_Pn[[rows[0] for rows in complete]], margins_PRN[np.array(complete), 0]


def check_runs_differ(origin: Origin, margins_MRN: NDArray[np.floating]) -> None:
    """Raise a TableError if two runs have equal margins for all subsets and targets, as if one file was given twice."""
    first_of: dict[bytes, int] = {}
    for run in range(margins_MRN.shape[1]):
        earlier = first_of.setdefault(sha256(margins_MRN[:, run].tobytes()).digest(), run)
        if earlier != run:
            names = [origin.margins, *origin.further_runs] if origin.further_runs else []
            where = f"{names[earlier]} and {names[run]}" if names else f"runs {earlier} and {run} of {origin.margins}"
            raise TableError(
                f"All margins are equal in {where}, so they are not from two trainings, and no noise ceiling can be estimated "
                "from them. Leave out one of them."
            )
