"""Read ground truth from the files of other projects, and check and convert the arrays.

Legend: M subsets, R runs, n training examples, N targets, P rows of the files, one row for each model.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.margins import mean_over_runs, read_margins
from ldsboard.arrays.masks import pack_masks, read_masks
from ldsboard.counts import count
from ldsboard.importing.tables import TableError, read_array, read_table
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class BitOrder(StrEnum):
    """Which bit of a byte comes first: the highest (``big``, the default of ``numpy.packbits``) or the lowest (``little``)."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True)
class Origin:
    """The files of existing ground truth, and the options for reading these files.

    Attributes
    ----------
    masks
        File of the subsets: 0/1 (P, n), index lists, or packed bits, in a format of `ldsboard.importing.tables.read_table`.
    margins
        File of the model outputs: (P, N), or (M, R, N).
    n_train
        Number of training examples n; required for index lists and packed bits unless `train_labels` is given.
    packed
        Bit order of the packed bits in `masks`; None if `masks` does not hold packed bits.
    removed
        Whether `masks` marks the examples that a model was *not* trained on.
    losses
        Whether `margins` holds losses; the margins are then the negated losses.
    runs
        Number of rows in `margins` for each subset: R if every run has its own row; 1 if the shape is (M, R, N) or R is 1.
    evaluations
        Number of evaluations K of each trained model, which are next to each other on the middle axis of `margins`: (M, R K, N),
        or (P, K, N) if every run has its own row. Their mean is one margin. Only retraining, not evaluation, makes a new run.
    completed
        File with a flag for each row, bool or 0/1 (P,), as in stores of the datamodels project. Rows with a 0 are left out.
    train_labels, target_labels
        Files with the labels of the training examples, integers (n,), and of the targets, integers (N,).
    """

    masks: Path
    margins: Path
    n_train: int | None = None
    packed: BitOrder | None = None
    removed: bool = False
    losses: bool = False
    runs: int = 1
    evaluations: int = 1
    completed: Path | None = None
    train_labels: Path | None = None
    target_labels: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Path of each file that was given, by the name of the attribute."""
        names = ("masks", "margins", "completed", "train_labels", "target_labels")
        return {name: path for name in names if (path := getattr(self, name)) is not None}


@dataclass(frozen=True)
class ImportedArrays:
    """Ground truth read from the files of an `Origin`.

    Attributes
    ----------
    masks_Mn
        Subsets, bool (M, n), True where a training example is in the subset.
    margins_MRN
        Margins, float32 (M, R, N), higher for better models.
    labels
        Labels of the training examples, integers (n,), under the key ``train``, and of the targets, integers (N,), under the key
        ``target``. Either key can be absent.
    rounded
        Whether any margin changed when it was rounded to float32.
    """

    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]
    labels: dict[str, NDArray[np.integer]]
    rounded: bool


def read_origin(origin: Origin) -> ImportedArrays:
    """Read the files of `origin`, and check that the files fit together.

    Raises
    ------
    TableError
        A ValueError: a file cannot be read, or two files do not fit together; the message names the files.
    OSError
        A file cannot be opened.
    """
    labels = _read_labels(origin)
    values = read_array(origin.margins)
    masks_Pn = _read_masks(origin, labels.get("train"), len(values) if values.ndim else 0)
    rows_P = np.arange(len(masks_Pn))
    if origin.completed is not None:
        done_P = _read_completed(origin, masks_Pn, values)
        masks_Pn, values, rows_P = masks_Pn[done_P], values[done_P], rows_P[done_P]
    row_axes = 2 if origin.evaluations == 1 else 3
    if origin.runs > 1 and values.ndim == row_axes and len(values) == origin.runs * len(masks_Pn):
        # The file has one mask for all runs of a subset.
        masks_Pn, rows_P = np.repeat(masks_Pn, origin.runs, axis=0), np.repeat(rows_P, origin.runs)
    with name_files_in_errors(origin.masks, origin.margins):
        margins_PRN = _mean_over_evaluations(origin, read_margins(values, *masks_Pn.shape))
    _check_trained(origin, masks_Pn, rows_P)
    masks_Mn, margins_MRN = _gather_runs(origin, masks_Pn, margins_PRN, rows_P)
    for part, examples in (("train", masks_Mn.shape[1]), ("target", margins_MRN.shape[2])):
        if part in labels and len(labels[part]) != examples:
            path = origin.files[f"{part}_labels"]
            raise TableError(
                f"--{part}-labels: expected {examples} labels in {path}, one for each example, got {len(labels[part])}."
            )
    if np.abs(margins_MRN).max() > np.finfo(np.float32).max:
        raise TableError(
            f"The margins in {origin.margins} exceed the range of float32. Scale the margins down: only their order counts."
        )
    exact_MRN = -margins_MRN if origin.losses else margins_MRN
    rounded_MRN = exact_MRN.astype(np.float32)
    return ImportedArrays(masks_Mn ^ origin.removed, rounded_MRN, labels, not np.array_equal(exact_MRN, rounded_MRN))


@contextmanager
def name_files_in_errors(*paths: Path) -> Iterator[None]:
    """Turn a ProblemError in the block into a TableError whose message begins with the paths of the files."""
    try:
        yield
    except ProblemError as error:
        raise TableError(f"{' and '.join(map(str, paths))}: {error}") from error


def _read_labels(origin: Origin) -> dict[str, NDArray[np.integer]]:
    labels = {}
    for part, path in (("train", origin.train_labels), ("target", origin.target_labels)):
        if path is not None:
            array = np.squeeze(read_array(path))
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise TableError(
                    f"--{part}-labels: expected one integer for each example in {path}, got {array.dtype} of shape {array.shape}."
                )
            labels[part] = array
    return labels


def _read_masks(origin: Origin, train_labels: NDArray[np.integer] | None, rows: int) -> NDArray[np.bool_]:
    """Read the masks, bool (P, n), one for each row of the file.

    n is `origin.n_train`, or else the number of `train_labels`. `rows` is the number of rows of the margins. From this number,
    packed bits are split into rows if `numpy.packbits` was called without an axis.
    """
    n = len(train_labels) if origin.n_train is None and train_labels is not None else origin.n_train
    table = read_table(origin.masks)
    if origin.packed is not None:
        return _unpack(origin, origin.packed, np.asarray(table), n, rows)
    stacked = table if isinstance(table, np.ndarray) and table.ndim == 2 else None  # noqa: PLR2004
    binary = stacked is not None and bool(((stacked == 0) | (stacked == 1)).all())
    if n is None and not binary:
        raise TableError(
            f"{origin.masks} is not a 0/1 table with one column for each training example. For index lists, add --n-train N, the "
            "number of training examples. For packed bits, add --n-train N and --packed big or --packed little."
        )
    bytes_wide = stacked is not None and stacked.dtype == np.uint8 and not binary
    if n is not None and stacked is not None and bytes_wide and stacked.shape[1] == -(-n // 8):
        raise TableError(
            f"{origin.masks} looks like packed bits of {n} training examples. "
            "Add --packed big, the default of numpy.packbits, or --packed little."
        )
    with name_files_in_errors(origin.masks):
        return read_masks(table, n)


def _unpack(origin: Origin, order: BitOrder, bits: NDArray[Any], n: int | None, rows: int) -> NDArray[np.bool_]:
    if n is None:
        raise TableError(f"The packed bits in {origin.masks} need --n-train N, the number of training examples.")
    width, whole = -(-n // 8), -(-rows * n // 8)
    flat = bits.shape == (whole,)  # numpy.packbits was called without an axis
    if bits.dtype != np.uint8 or not (flat or (bits.ndim == 2 and bits.shape[1] == width)):  # noqa: PLR2004
        raise TableError(
            f"Expected packed bits of {n} training examples in {origin.masks}: uint8 of shape ({rows}, {width}) "
            f"for {rows} subsets, or of shape ({whole},) if numpy.packbits was called without axis=1. "
            f"Got {bits.dtype} of shape {bits.shape}. Check --n-train; omit --packed if the masks are not packed."
        )
    unpacked = np.unpackbits(bits, axis=-1, bitorder=order.value)
    used = rows * n if flat else n
    if unpacked[..., used:].any():
        other = BitOrder.LITTLE if order is BitOrder.BIG else BitOrder.BIG
        raise TableError(
            f"The unused last bits in {origin.masks} must be 0, but some are 1. If the bit order is not {order}, give "
            f"--packed {other}. If there are not {n} training examples, give the correct --n-train."
        )
    return unpacked[..., :used].reshape(-1, n).astype(np.bool_)


def _read_completed(origin: Origin, masks_Pn: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    path = origin.files["completed"]
    done_P = read_array(path)
    rows = (len(done_P), len(masks_Pn), len(values)) if done_P.ndim == 1 and values.ndim else ()
    if len(set(rows)) != 1 or not ((done_P == 0) | (done_P == 1)).all():
        raise TableError(
            f"--completed: {path} must hold a 0 or a 1 for each row of the masks and of the margins. It holds {done_P.dtype} "
            f"of shape {done_P.shape}; {origin.masks} has {len(masks_Pn)} rows, and {origin.margins} has {len(values)}."
        )
    if not done_P.any():
        raise TableError(f"{path} marks none of its {len(done_P)} rows as completed.")
    return done_P.astype(np.bool_)


def _mean_over_evaluations(origin: Origin, margins_PRN: NDArray[np.floating]) -> NDArray[np.floating]:
    """Replace each `origin.evaluations` neighbours on the middle axis by their mean in float64, added in their order.

    Raises
    ------
    TableError
        The length of the middle axis is not a multiple of the number of evaluations.
    """
    K, (P, columns, N) = origin.evaluations, margins_PRN.shape
    if columns % K:
        raise TableError(
            f"--evaluations {K}: expected a multiple of {K} as second of three axes in {origin.margins}, got {columns}. "
            "Stack evaluations of shape (subsets, targets) with numpy.stack(evaluations, axis=1), or correct --evaluations."
        )
    return margins_PRN if K == 1 else mean_over_runs(margins_PRN.reshape(-1, K, N)).reshape(P, columns // K, N)


def _check_trained(origin: Origin, masks_Pn: NDArray[np.bool_], rows_P: NDArray[np.integer]) -> None:
    """Raise a TableError if a mask holds no training example.

    `rows_P` states for each mask its row in the file of the masks, for the message.
    """
    empty = np.unique(rows_P[~masks_Pn.any(axis=1)])
    if empty.size:
        raise TableError(
            f"{origin.masks} has {count(empty.size, 'row')} without a training example; the first is row {empty[0]}. "
            "If these models were not trained, leave out their rows. For a datamodels store, add --completed _completed.npy."
        )


def _gather_runs(
    origin: Origin, masks_Pn: NDArray[np.bool_], margins_PRN: NDArray[np.floating], rows_P: NDArray[np.integer]
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Gather rows with equal masks as the runs of one subset; return the subsets, bool (M, n), and the margins, (M, R, N).

    `rows_P` states for each mask its row in the file of the masks, for messages. The subsets are in the order of their first
    rows. With `origin.completed`, a subset with fewer than R runs is left out.

    Raises
    ------
    TableError
        A ValueError: the number of rows of some subset contradicts `origin.runs`.
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
