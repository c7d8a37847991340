"""Convert subsets of the training examples, in any supported form, to packed bits or to one boolean matrix.

Legend: M subsets, n training examples.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.packed import PackedMasks
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_LISTS = 8
"""Smallest number of subsets that `could_be_packed` recognizes as index lists."""


def _invalid(expected: str, got: str, hint: str) -> ProblemError:
    return ProblemError.mismatch("masks.invalid", expected=expected, got=got, hint=hint)


def read_masks(masks: Any, n: int | None, *, packed: bool = False) -> NDArray[np.bool_]:
    """Convert subsets to one array, bool (M, n), that is True where a training example is in the subset.

    Parameters
    ----------
    masks
        A bool or 0/1 array (M, n); or one index list for each subset, with unique integers in [0, n), where the lists can differ
        in length; or, if `packed` is True, packed bits: uint8 (M, ceil(n / 8)), little bit order.
    n
        Number of training examples. With None, `masks` must be a bool or 0/1 array, whose width is taken as n.
    packed
        Whether `masks` holds packed bits.

    Raises
    ------
    ProblemError
        ``masks.invalid``: `masks` has none of the forms that are listed under Parameters. Or `packed` is False, and `masks` could
        be packed bits, see `could_be_packed`.
    """
    if packed or isinstance(masks, PackedMasks):
        return read_packed(masks, n, packed=packed).unpacked()
    table = _as_table(masks)
    if isinstance(table, np.ndarray) and _is_binary(table, n):
        return table.astype(np.bool_)
    if n is not None and could_be_packed(table, n):
        raise _invalid(
            f"a 0/1 array of shape (M, {n}), or index lists",
            f"uint8 of shape {np.shape(table)}, which looks like packed bits",
            "Pass packed=True; or unpack with numpy.unpackbits(masks, axis=1, count=n, bitorder='little'). "
            "For index lists, give masks.astype(int).",
        )
    if n is None:
        raise _invalid(
            "a 0/1 array of shape (M, n)",
            "index lists without the number of training examples",
            "Give n_train, the number of training examples.",
        )
    return _from_index_lists(table, n)


def could_be_packed(table: NDArray[Any] | Sequence[NDArray[Any]], n: int) -> bool:
    """Return whether an array that is no mask could hold packed bits rather than index lists.

    It could if it is uint8 of width ceil(n / 8), unless all of its rows are valid index lists that, as packed bits, would be
    subsets of several sizes. Below `FEWEST_LISTS` rows, both can be by chance.
    """
    if not isinstance(table, np.ndarray) or table.dtype != np.uint8 or not table.shape[1] == -(-n // 8) < n:
        return False
    ordered = np.sort(table, axis=1)
    are_lists = bool((ordered[:, -1] < n).all() and (ordered[:, 1:] > ordered[:, :-1]).all())
    sizes = np.unpackbits(table, axis=1).sum(axis=1)
    return not (are_lists and len(table) >= FEWEST_LISTS and bool((sizes != sizes[0]).any()))


def read_packed(masks: Any, n: int | None, *, packed: bool = False) -> PackedMasks:
    """Convert subsets to `PackedMasks`. Parameters and errors are those of `read_masks`; `masks` can also be `PackedMasks`."""
    if isinstance(masks, PackedMasks):
        if n not in {None, masks.n}:
            raise _invalid(f"masks of width n = {n}", f"shape {masks.shape}", "Give one column per training example.")
        return masks
    return _check_bits(np.asarray(masks), n) if packed else PackedMasks.of(read_masks(masks, n))


def read_indices(indices: Any, n: int) -> NDArray[np.bool_]:
    """Convert the indices of dattri's tuple (values, indices) to one array, bool (M, n), True where an example is in the subset.

    As in dattri, integers are indices, also if they are all 0 or 1. A bool array is a mask, and so is a uint8 array of zeros and
    ones of width n, because torch uses uint8 in the place of bool.

    Parameters
    ----------
    indices
        Unique integers in [0, n) for each subset, (M, m) or lists of different lengths; or masks, (M, n).
    n
        Number of training examples.

    Raises
    ------
    ProblemError
        ``masks.invalid``: `indices` has none of these forms. Or `indices` holds zeros and ones of width n > 2 in an integer type
        other than uint8; such rows, which repeat an index, are probably masks. Or `indices` could be packed bits, see
        `could_be_packed`.
    """
    table = _as_table(indices)
    if not isinstance(table, np.ndarray):
        return _from_index_lists(table, n)
    if table.dtype.kind not in "biu":
        raise _invalid(
            "integers as the second member of (values, indices)",
            f"dtype {table.dtype}",
            "Give the values first and the indices second. Convert 0/1 masks to bool.",
        )
    if table.dtype.kind == "b" or table.dtype == np.uint8:
        return read_masks(table, n)
    if table.shape[1] == n > 2 and ((table == 0) | (table == 1)).all():  # noqa: PLR2004 -- such rows repeat an index
        raise _invalid(
            "indices, or masks of dtype bool",
            f"zeros and ones of dtype {table.dtype}, which are indices in a tuple (values, indices)",
            "Convert the masks to bool: masks.astype(bool), or masks.bool() for a torch tensor.",
        )
    return _from_index_lists(table, n)


def _as_table(masks: Any) -> NDArray[Any] | list[NDArray[Any]]:
    """Convert subsets to one array if all rows have the same length, otherwise to a list with an array for each row."""
    if hasattr(masks, "__array__") or hasattr(masks, "__dlpack__"):
        try:
            table = np.asarray(masks) if hasattr(masks, "__array__") else np.from_dlpack(masks)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            hint = "Convert the masks to a bool array. Convert a torch tensor with masks.bool().cpu()."
            raise _invalid("masks that numpy can read", str(error), hint) from error
        ragged = table.dtype == object and table.ndim == 1
        if table.ndim != 2 and not ragged:  # noqa: PLR2004
            raise _invalid("two dimensions (M, n)", f"shape {table.shape}", "Give one row per subset.")
        if not ragged:
            return table
    try:
        rows = [np.asarray(row) for row in masks]
    except (TypeError, ValueError) as error:
        raise _invalid("one flat sequence per subset", str(error), "Give one list of indices per subset.") from error
    if any(row.ndim != 1 for row in rows):
        raise _invalid("one flat sequence per subset", "nested or scalar rows", "Give one list of indices per subset.")
    if rows and len({row.size for row in rows}) == 1 and rows[0].size:
        return np.stack(rows)
    return rows


def _is_binary(table: NDArray[Any], n: int | None) -> bool:
    """Return whether the rows of `table` are bool or 0/1 masks of width n rather than index lists."""
    if table.dtype.kind not in "biuf":
        raise _invalid(
            "masks of bool or 0/1, or integer indices",
            f"dtype {table.dtype}",
            "Convert the masks to a bool array of shape (M, n).",
        )
    wide = n is None or table.shape[1] == n
    if not wide and table.shape[0] == n and ((table == 0) | (table == 1)).all():
        raise _invalid(f"masks of width n = {n}", f"shape {table.shape}, which is transposed", "Give masks.T instead.")
    if table.dtype.kind == "b" or not wide:
        if table.dtype.kind in "bf" and not wide:
            raise _invalid(f"masks of width n = {n}", f"shape {table.shape}", "Give one column per training example.")
        return table.dtype.kind == "b"
    binary = bool(((table == 0) | (table == 1)).all())
    if not binary and table.dtype.kind == "f":
        raise _invalid(
            "a mask of zeros and ones",
            "other floating-point values",
            "Use 1 where a training example is in the subset, and 0 elsewhere.",
        )
    return binary


def _from_index_lists(rows: Sequence[NDArray[Any]] | NDArray[Any], n: int) -> NDArray[np.bool_]:
    masks_Mn = np.zeros((len(rows), n), dtype=np.bool_)
    for i, row in enumerate(rows):
        if row.size and row.dtype.kind not in "iu":
            raise _invalid("integer indices", f"dtype {row.dtype} in subset {i}", f"Give indices in [0, {n}).")
        if row.size and (row.min() < 0 or row.max() >= n):
            raise _invalid(
                f"indices in [0, {n})",
                f"{row.min() if row.min() < 0 else row.max()} in subset {i}",
                "Number the training examples from 0, in the order of the rows of the scores.",
            )
        masks_Mn[i, row.astype(np.intp)] = True
        if int(masks_Mn[i].sum()) != row.size:
            raise _invalid(
                "unique indices in each subset (or 0/1 masks of width n)",
                f"{row.size - int(masks_Mn[i].sum())} repeated indices in subset {i}",
                f"List each training example once. A 0/1 mask would need {n} columns.",
            )
    return masks_Mn


def _check_bits(bits: NDArray[Any], n: int | None) -> PackedMasks:
    """Check packed bits; they are copied unless nothing can change them, as in a file that is mapped for reading."""
    if n is None:
        raise _invalid(
            "packed masks and the number of training examples",
            "packed masks without this number",
            "Give n_train, the number of training examples.",
        )
    width = -(-n // 8)
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.shape[1] != width:  # noqa: PLR2004
        raise _invalid(
            f"packed masks, uint8 (M, {width}) for n = {n}",
            f"{bits.dtype} {bits.shape}",
            "Pack the masks with numpy.packbits(masks, axis=1, bitorder='little').",
        )
    if n % 8 and (bits[:, -1] >> n % 8).any():
        raise _invalid(
            "zeros in the unused last bits of each row of packed masks",
            "ones",
            f"Pack the masks with bitorder='little', and check that there are {n} training examples.",
        )
    return PackedMasks(bits if _is_immutable(bits) else bits.copy(), n)


def _is_immutable(array: NDArray[Any]) -> bool:
    """Return whether an array and all arrays of which it is a view are read-only, and so is the mapping or bytes that hold it."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return isinstance(owner, (mmap.mmap, bytes)) and memoryview(owner).readonly


def pack_masks(masks_Mn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Convert masks to packed bits, uint8 (M, ceil(n / 8)), little bit order."""
    return PackedMasks.of(masks_Mn).bits_MG


def count_duplicates(masks_Mn: NDArray[np.bool_]) -> int:
    """Count the subsets that are equal to an earlier subset."""
    return PackedMasks.of(masks_Mn).duplicates()
