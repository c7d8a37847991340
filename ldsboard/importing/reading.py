"""Read ground truth from the files of other projects, and check and convert the arrays.

Legend: M subsets, R runs, n training examples, N targets, P rows of a file, one row for each model or each subset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.margins import read_margins
from ldsboard.arrays.masks import could_be_packed, read_masks
from ldsboard.counts import count
from ldsboard.formats.lines import RemedyError
from ldsboard.importing.containers import Part, exact_array
from ldsboard.importing.origins import BitOrder, Origin, RowOrder, name_files_in_errors
from ldsboard.importing.rounding import round_margins
from ldsboard.importing.runs import (
    check_runs_differ,
    check_trained,
    gather_runs,
    in_order_of_subsets,
    mean_over_evaluations,
)
from ldsboard.importing.tables import RawArray, TableError, is_raw, read_array, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FEWEST_COUNTED = 4
"""Smallest number of rows of which a first column 0, 1, 2, … is taken for their numbers."""


@dataclass(frozen=True)
class ImportedArrays:
    """Ground truth read from the files of an `Origin`.

    Attributes
    ----------
    masks_Mn
        Subsets, bool (M, n), True where a training example is in the subset.
    margins_MRN
        Margins, float32 (M, R, N), higher for better models; those of each target shifted and scaled, if the options say so.
    labels
        Labels of the training examples, integers (n,), under the key ``train``, and of the targets, integers (N,), under the key
        ``target``. Either key can be absent.
    rounded
        Whether any margin changed when it was rounded to float32.
    notes
        Sentences that tell the operator what was left out, and what was inferred from the files.
    order
        Order of the rows in the file of the margins, if every run has its own row there but every subset has one mask in the
        file of the masks; otherwise None.
    tied
        Number of targets in which rounding made different margins of a run equal.
    lowest
        Smallest margin before margins were shifted, scaled and rounded.
    """

    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]
    labels: dict[str, NDArray[np.integer]]
    rounded: bool
    notes: tuple[str, ...] = ()
    order: RowOrder | None = None
    tied: int = 0
    lowest: float = -np.inf


def read_origin(origin: Origin) -> ImportedArrays:
    """Read the files of `origin`, check that the files fit together, and apply the options, such as negating losses.

    Raises
    ------
    TableError
        A ValueError: a file cannot be read, holds invalid values, or does not fit to another file or an option; the message names
        the files or the option.
    OSError
        A file cannot be opened.
    """
    labels = _read_labels(origin)
    raw_masks, raw_margins = _raw_arrays(origin)
    values = _read_values(origin, raw_margins)
    _check_row_numbers(origin.margins, values, "margins")
    _check_two_tables(origin, values, raw_masks)
    notes = []
    masks_Pn = _read_masks(origin, labels.get("train"), len(values) if values.ndim else 0, raw_masks)
    rows_P = np.arange(len(masks_Pn))
    if origin.completed is not None:
        done_P = _read_completed(origin, masks_Pn, values)
        masks_Pn, values, rows_P = masks_Pn[done_P], values[done_P], rows_P[done_P]
    if values.ndim == 3 and values.shape[0] != len(masks_Pn) == values.shape[1]:  # noqa: PLR2004 -- (R, M, N)
        values = values.swapaxes(0, 1)
        notes.append(f"The first axis of {origin.margins} are the runs, and the second one the subsets.")
    row_axes = 2 if origin.evaluations == 1 else 3
    one_mask_for_runs = origin.runs > 1 and values.ndim == row_axes and len(values) == origin.runs * len(masks_Pn)
    if one_mask_for_runs:
        masks_Pn, rows_P = np.repeat(masks_Pn, origin.runs, axis=0), np.repeat(rows_P, origin.runs)
    elif origin.order is not None:
        raise TableError("--order: every row has its own mask or is one subset, so the order is known. Omit --order.")
    with name_files_in_errors(origin.masks, origin.margins):
        margins_PRN = mean_over_evaluations(origin, read_margins(values, *masks_Pn.shape))
    order = None
    if one_mask_for_runs:
        order, margins_PRN = in_order_of_subsets(origin, margins_PRN)
    check_trained(origin, masks_Pn, rows_P)
    masks_Mn, margins_MRN = gather_runs(origin, masks_Pn, margins_PRN, rows_P)
    check_runs_differ(origin, margins_MRN)
    for part, examples in (("train", masks_Mn.shape[1]), ("target", margins_MRN.shape[2])):
        if part in labels and len(labels[part]) != examples:
            path = origin.files[f"{part}_labels"]
            raise TableError(
                f"--{part}-labels: expected {examples} labels in {path}, one for each example, got {len(labels[part])}."
            )
    signed_MRN = -margins_MRN if origin.losses or origin.negated else margins_MRN
    rounded = round_margins(origin.margins, signed_MRN, rescale=origin.rescale)
    if order is RowOrder.RUN and origin.order is None:
        notes.append(f"The rows of {origin.margins} are in the order of the runs: first all subsets of one run.")
    return ImportedArrays(
        masks_Mn ^ origin.removed,
        rounded.margins_MRN,
        labels,
        rounded.changed,
        tuple(notes),
        order,
        rounded.tied,
        float(signed_MRN.min()),
    )


def _raw_arrays(origin: Origin) -> tuple[RawArray | None, RawArray | None]:
    """Return type and shape of the masks, and type and shape of the margins; None in the place of each file with a header.

    Raises
    ------
    TableError
        The number of types and shapes differs from the number of files without a header.
    """
    if not origin.raw:
        return None, None
    paths = [path for path in (origin.masks, origin.margins, *origin.further_runs) if is_raw(path)]
    kinds = len({path == origin.masks for path in paths})
    if len(origin.raw) != kinds:
        raise TableError(
            f"--dtype and --shape: expected them {count(kinds, 'time')}, got them {count(len(origin.raw), 'time')}. "
            + (
                f"Give them for {' and '.join(map(str, paths))}, in this order."
                if paths
                else "No file is without a header."
            )
        )
    return origin.raw[0] if origin.masks in paths else None, origin.raw[-1] if paths[-1] != origin.masks else None


def _check_two_tables(origin: Origin, values: NDArray[Any], raw: RawArray | None) -> None:
    """Raise a TableError if one file is given for masks and margins, and holds only one table."""
    if origin.masks == origin.margins:
        table = read_table(origin.masks, Part.MASKS, origin.masks_key, raw)
        if isinstance(table, np.ndarray) and np.array_equal(table, values):
            raise TableError(
                f"{origin.masks} holds one table. Give two files: --masks for the subsets, --margins for the outputs."
            )


def _read_values(origin: Origin, raw: RawArray | None) -> NDArray[Any]:
    """Read the margins; those of several files become the runs of each subset, (M, R, N), and a vector (M,) becomes (M, 1)."""
    every = [read_array(path, Part.MARGINS, origin.margins_key, raw) for path in (origin.margins, *origin.further_runs)]
    every = [values[:, None] if values.ndim == 1 else values for values in every]
    values = every[0]
    if not origin.further_runs:
        return values
    shapes = {array.shape for array in every}
    if len(shapes) > 1 or values.ndim != 2 or origin.runs > 1 or origin.evaluations > 1:  # noqa: PLR2004 -- (M, N)
        raise TableError(
            f"Several files of margins are runs of the same subsets: expected the shape (M, N) in each of {origin.margins} and "
            f"{count(len(origin.further_runs), 'further file')}, without --runs and --evaluations, got the shapes "
            f"{', '.join(map(str, sorted(shapes)[:4]))}."
        )
    with_runs = np.stack(every, axis=1)
    try:
        return exact_array(with_runs, every)
    except RemedyError as error:
        raise TableError(f"Together with {origin.margins}, {error}") from error


def _read_labels(origin: Origin) -> dict[str, NDArray[np.integer]]:
    labels = {}
    for part, path in (("train", origin.train_labels), ("target", origin.target_labels)):
        if path is not None:
            array = _whole(np.squeeze(read_array(path, Part.LABELS)))
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise TableError(
                    f"--{part}-labels: expected one integer for each example in {path}, got {array.dtype} of shape {array.shape}."
                )
            labels[part] = array
    return labels


def _check_row_numbers(path: Path, table: NDArray[Any] | list[NDArray[Any]], name: str) -> None:
    """Raise a TableError if the first of several columns counts the rows from 0 or 1, as the index that pandas writes.

    The first column of index lists may count the rows, if every list is in ascending order: row i can be a window from i on.
    """
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] < 2 or len(table) < FEWEST_COUNTED:  # noqa: PLR2004
        return
    begin = table[0, 0]
    counts = begin in (0, 1) and np.array_equal(table[:, 0], np.arange(len(table)) + int(begin))
    if not counts or (name == "masks" and (np.diff(table) > 0).all()):
        return
    raise TableError(
        f"The first column of {path} counts the rows from {begin:g}, as the index that pandas writes. Leave it out: "
        f"give numpy.delete({name}, 0, axis=1)."
        + (" If the subsets are lists that begin so, give numpy.sort(masks, axis=1)." if name == "masks" else "")
    )


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """Convert whole numbers of a floating-point type to int64, for files of ``numpy.savetxt``; return other arrays unchanged."""
    if array.dtype.kind != "f" or not (np.abs(array) < np.float64(2**53)).all() or (array != np.floor(array)).any():
        return array
    return array.astype(np.int64)


def _read_masks(
    origin: Origin, train_labels: NDArray[np.integer] | None, rows: int, raw: RawArray | None
) -> NDArray[np.bool_]:
    """Read the masks, bool (P, n), one for each row of the file.

    n is `origin.n_train`, or else the number of `train_labels`. `rows` is the number of rows of the margins. This number splits
    packed bits into rows if `numpy.packbits` was called without an axis.
    """
    n = len(train_labels) if origin.n_train is None and train_labels is not None else origin.n_train
    table = read_table(origin.masks, Part.MASKS, origin.masks_key, raw)
    if origin.packed is not None:
        return _unpack(origin, origin.packed, np.asarray(table), n, rows)
    table = _whole(table) if isinstance(table, np.ndarray) else [_whole(row) for row in table]
    _check_row_numbers(origin.masks, table, "masks")
    stacked = table if isinstance(table, np.ndarray) and table.ndim == 2 else None  # noqa: PLR2004
    binary = stacked is not None and bool(((stacked == 0) | (stacked == 1)).all())
    if n is None and not binary:
        raise TableError(
            f"{origin.masks} is not a 0/1 table with one column for each training example. For index lists, add --n-train N, the "
            "number of training examples. For packed bits, add --n-train N and --packed big or --packed little."
        )
    if n is not None and could_be_packed(table, n):
        raise TableError(
            f"{origin.masks} looks like packed bits of {n} training examples. "
            "Add --packed big, the default of numpy.packbits, or --packed little. For index lists, give masks.astype(int)."
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
    done_P = read_array(path, Part.FLAGS)
    rows = (len(done_P), len(masks_Pn), len(values)) if done_P.ndim == 1 and values.ndim else ()
    if len(set(rows)) != 1 or not ((done_P == 0) | (done_P == 1)).all():
        raise TableError(
            f"--completed: {path} must hold a 0 or a 1 for each row of the masks and of the margins. It holds {done_P.dtype} "
            f"of shape {done_P.shape}; {origin.masks} has {len(masks_Pn)} rows, and {origin.margins} has {len(values)}."
        )
    if not done_P.any():
        raise TableError(f"{path} marks none of its {len(done_P)} rows as completed.")
    return done_P.astype(np.bool_)
