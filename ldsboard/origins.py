"""Where ground truth from elsewhere comes from: the files that others keep theirs in, read, checked and brought into one form.

Legend: M subsets, R runs, n training examples, N targets, P rows of the files, one for each model.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.margins import read_margins
from ldsboard.masks import pack_masks, read_masks
from ldsboard.problems import ProblemError
from ldsboard.tables import TableError, read_array, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class BitOrder(StrEnum):
    """Which bit of a byte comes first: the highest, as ``numpy.packbits`` has it by default, or the lowest."""

    BIG = "big"
    LITTLE = "little"


@dataclass(frozen=True)
class Origin:
    """The files, and how they are to be read.

    Attributes
    ----------
    masks
        The subsets: 0/1 (P, n), index lists, or packed bits; `ldsboard.tables` says in which kinds of files.
    margins
        What the models gave: (P, N), or (M, R, N).
    n_train
        Number of training examples, where `masks` does not tell: for index lists and packed bits.
    packed
        The order of bits, where `masks` are packed ones.
    removed
        Whether `masks` name the examples that a model was *not* trained on.
    losses
        Whether `margins` are losses, to be negated.
    runs
        How many models share each subset, as rows of their own.
    completed
        bool or 0/1 (P,): which rows were written, in a store of the datamodels project.
    train_labels, target_labels
        Integers (n,) and (N,).
    """

    masks: Path
    margins: Path
    n_train: int | None = None
    packed: BitOrder | None = None
    removed: bool = False
    losses: bool = False
    runs: int = 1
    completed: Path | None = None
    train_labels: Path | None = None
    target_labels: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that are given, by what they hold."""
        names = ("masks", "margins", "completed", "train_labels", "target_labels")
        return {name: path for name in names if (path := getattr(self, name)) is not None}


@dataclass(frozen=True)
class ImportedArrays:
    """What the files hold.

    Attributes
    ----------
    masks_Mn, margins_MRN
        bool (M, n), True where the example was trained on; float32 (M, R, N), high where the model does well.
    labels
        Integers (n,) and (N,), called ``train`` and ``target``, where there are any.
    rounded
        Whether a margin was rounded to float32.
    """

    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]
    labels: dict[str, NDArray[np.integer]]
    rounded: bool


def read_origin(origin: Origin) -> ImportedArrays:
    """Read the files and check that they fit each other.

    Raises
    ------
    TableError
        A ValueError: they do not, or one cannot be read; the message names the files.
    OSError
        A file cannot be opened.
    """
    labels = _read_labels(origin)
    values = read_array(origin.margins)
    masks_Pn = _read_masks(origin, labels.get("train"), len(values) if values.ndim else 0)
    if origin.completed is not None:
        done_P = _read_completed(origin, masks_Pn, values)
        masks_Pn, values = masks_Pn[done_P], values[done_P]
    if origin.runs > 1 and values.ndim == 2 and len(values) == origin.runs * len(masks_Pn):  # noqa: PLR2004
        masks_Pn = np.repeat(masks_Pn, origin.runs, axis=0)  # one mask for all runs in a row
    with name_files_in_errors(origin.masks, origin.margins):
        margins_PRN = read_margins(values, *masks_Pn.shape)
    _check_trained(origin, masks_Pn)
    masks_Mn, margins_MRN = _gather_runs(origin, masks_Pn, margins_PRN)
    for part, count in (("train", masks_Mn.shape[1]), ("target", margins_MRN.shape[2])):
        if part in labels and len(labels[part]) != count:
            path = origin.files[f"{part}_labels"]
            raise TableError(f"expected a label for each of {count} {part} examples in {path}, got {len(labels[part])}")
    if np.abs(margins_MRN).max() > np.finfo(np.float32).max:
        raise TableError(
            f"expected margins that float32 holds in {origin.margins}. Scale them down: only order counts."
        )
    exact_MRN = -margins_MRN if origin.losses else margins_MRN
    rounded_MRN = exact_MRN.astype(np.float32)
    return ImportedArrays(masks_Mn ^ origin.removed, rounded_MRN, labels, not np.array_equal(exact_MRN, rounded_MRN))


@contextmanager
def name_files_in_errors(*paths: Path) -> Iterator[None]:
    """Say of what is wrong with an array which files it came from."""
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
                    f"expected one integer for each {part} example in {path}, got {array.dtype} of shape {array.shape}"
                )
            labels[part] = array
    return labels


def _read_masks(origin: Origin, train_labels: NDArray[np.integer] | None, rows: int) -> NDArray[np.bool_]:
    """Return the subsets as they are in the file, bool (P, n); `rows` is how many the margins have."""
    n = len(train_labels) if origin.n_train is None and train_labels is not None else origin.n_train
    table = read_table(origin.masks)
    if origin.packed is not None:
        return _unpack(origin, origin.packed, np.asarray(table), n, rows)
    stacked = table if isinstance(table, np.ndarray) and table.ndim == 2 else None  # noqa: PLR2004
    binary = stacked is not None and bool(((stacked == 0) | (stacked == 1)).all())
    if n is None and not binary:
        raise TableError(
            f"expected one column of 0 or 1 for each training example in {origin.masks}, got other numbers. Index lists need "
            "--n-train N, the number of training examples; packed bits need it too, and --packed big or --packed little."
        )
    bytes_wide = stacked is not None and stacked.dtype == np.uint8 and not binary
    if n is not None and stacked is not None and bytes_wide and stacked.shape[1] == -(-n // 8):
        raise TableError(
            f"expected subsets of {n} training examples in {origin.masks}, got bytes that look like packed bits. "
            "Give --packed big, which is the default of numpy.packbits, or --packed little."
        )
    with name_files_in_errors(origin.masks):
        return read_masks(table, n)


def _unpack(origin: Origin, order: BitOrder, bits: NDArray[Any], n: int | None, rows: int) -> NDArray[np.bool_]:
    if n is None:
        raise TableError(
            f"expected --n-train N, the number of training examples, with the packed bits in {origin.masks}"
        )
    width, whole = -(-n // 8), -(-rows * n // 8)
    flat = bits.shape == (whole,)  # numpy.packbits without an axis
    if bits.dtype != np.uint8 or not (flat or (bits.ndim == 2 and bits.shape[1] == width)):  # noqa: PLR2004
        raise TableError(
            f"expected packed bits of {n} training examples in {origin.masks}, uint8 (M, {width}), or all {rows} subsets in one "
            f"piece, ({whole},), got {bits.dtype} {bits.shape}. Is --n-train right? Masks that are not packed need no --packed."
        )
    unpacked = np.unpackbits(bits, axis=-1, bitorder=order.value)
    used = rows * n if flat else n
    if unpacked[..., used:].any():
        other = BitOrder.LITTLE if order is BitOrder.BIG else BitOrder.BIG
        raise TableError(
            f"expected zeros behind the last training example in {origin.masks}, got ones: the bits are in another order, or "
            f"--n-train is not {n}. Give --packed {other}."
        )
    return unpacked[..., :used].reshape(-1, n).astype(np.bool_)


def _read_completed(origin: Origin, masks_Pn: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    path = origin.files["completed"]
    done_P = read_array(path)
    rows = (len(done_P), len(masks_Pn), len(values)) if done_P.ndim == 1 and values.ndim else ()
    if len(set(rows)) != 1 or not ((done_P == 0) | (done_P == 1)).all():
        raise TableError(
            f"expected one 0 or 1 in {path} for each row of {origin.masks} and {origin.margins}, got {done_P.dtype} of shape "
            f"{done_P.shape} for {len(masks_Pn)} and {len(values)} rows"
        )
    if not done_P.any():
        raise TableError(f"expected rows that were completed in {path}, got 0 of {len(done_P)}")
    return done_P.astype(np.bool_)


def _check_trained(origin: Origin, masks_Pn: NDArray[np.bool_]) -> None:
    empty = np.flatnonzero(~masks_Pn.any(axis=1))
    if empty.size:
        raise TableError(
            f"expected training examples in every row of {origin.masks}, got none in {empty.size} of {len(masks_Pn)}, the first "
            f"row {empty[0]}. If these models were not trained, leave out their rows; a store of the datamodels project says "
            "which were: --completed _completed.npy"
        )


def _gather_runs(
    origin: Origin, masks_Pn: NDArray[np.bool_], margins_PRN: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Bring rows of one subset together as its runs: (M, n) and (M, R, N), in the order in which subsets come first."""
    rows_of: dict[bytes, list[int]] = {}
    for row, bits in enumerate(pack_masks(masks_Pn)):
        rows_of.setdefault(bits.tobytes(), []).append(row)
    counts = sorted({len(rows) for rows in rows_of.values()})
    if origin.runs == 1:
        if counts == [1]:
            return masks_Pn, margins_PRN
        first, second = next(rows for rows in rows_of.values() if len(rows) > 1)[:2]
        do = f"If these are runs, give --runs {counts[-1]}." if len(counts) == 1 else "Leave them out of both files."
        raise TableError(
            f"expected different subsets in {origin.masks}, got {len(masks_Pn) - len(rows_of)} that repeat another, such as rows "
            f"{first} and {second}. {do}"
        )
    # As in TRAK's own evaluation, a subset whose models were not all completed is left out.
    whole = [rows for rows in rows_of.values() if len(rows) == origin.runs]
    tolerable = counts[-1] == origin.runs and (len(counts) == 1 or origin.completed is not None)
    if margins_PRN.shape[1] > 1 or not tolerable:
        raise TableError(
            f"expected {origin.runs} rows of {origin.margins} for every subset of {origin.masks}, got from {counts[0]} to "
            f"{counts[-1]}, of {margins_PRN.shape[1]} run(s) each. Is --runs right?"
        )
    return masks_Pn[[rows[0] for rows in whole]], margins_PRN[np.array(whole), 0]
