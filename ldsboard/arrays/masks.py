"""Convert subsets of the training examples, in any supported form, to one boolean matrix.

Legend: M subsets, n training examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def _invalid(expected: str, got: str, hint: str) -> ProblemError:
    return ProblemError.mismatch("masks.invalid", expected=expected, got=got, hint=hint)


def read_masks(masks: Any, n: int | None, *, packed: bool = False) -> NDArray[np.bool_]:
    """Convert subsets to ``masks_Mn``, bool (M, n), True where the example is in the training subset.

    Parameters
    ----------
    masks
        bool or any 0/1 array of shape (M, n); or index lists, one sequence of unique integers in [0, n) per
        subset, ragged allowed; or, with `packed`, uint8 (M, ceil(n / 8)), bits in little order.
    n
        Number of training examples. None only for an unpacked 0/1 array, whose width is n.
    packed
        Whether the rows are packed bits.

    Raises
    ------
    ProblemError
        A ValueError: the subsets have none of these forms.
    """
    if packed:
        return _unpack(np.asarray(masks), n)
    table = _as_table(masks)
    if isinstance(table, np.ndarray) and _is_binary(table, n):
        return table.astype(np.bool_)
    if n is not None and isinstance(table, np.ndarray) and table.dtype == np.uint8 and table.shape[1] == -(-n // 8):
        raise _invalid(
            f"a 0/1 array of shape (M, {n}), or index lists",
            f"uint8 of shape {table.shape}, which looks like packed bits",
            "Pass packed=True; or unpack with numpy.unpackbits(masks, axis=1, count=n, bitorder='little').",
        )
    if n is None:
        raise _invalid(
            "a 0/1 array of shape (M, n)",
            "index lists without the number of training examples",
            "Give n_train, the number of training examples.",
        )
    return _from_index_lists(table, n)


def _as_table(masks: Any) -> NDArray[Any] | list[NDArray[Any]]:
    """Return one array if all rows have the same length, otherwise a list of rows."""
    if hasattr(masks, "__array__") or hasattr(masks, "__dlpack__"):
        try:
            table = np.asarray(masks) if hasattr(masks, "__array__") else np.from_dlpack(masks)
        except (TypeError, ValueError, RuntimeError, BufferError) as error:
            hint = "Convert them to bool; for a torch tensor: masks.bool().cpu()."
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
    """Return whether the table is a 0/1 mask of width n rather than index lists."""
    if table.dtype.kind not in "biuf":
        raise _invalid("bool, 0/1 or integers", f"dtype {table.dtype}", "Convert the subsets to bool of shape (M, n).")
    wide = n is None or table.shape[1] == n
    if not wide and table.shape[0] == n and ((table == 0) | (table == 1)).all():
        raise _invalid(f"masks of width n = {n}", f"shape {table.shape}, which is transposed", "Give masks.T instead.")
    if table.dtype.kind == "b" or not wide:
        if table.dtype.kind in "bf" and not wide:
            raise _invalid(f"masks of width n = {n}", f"shape {table.shape}", "Give one column per training example.")
        return table.dtype.kind == "b"
    binary = bool(((table == 0) | (table == 1)).all())
    if not binary and table.dtype.kind == "f":
        raise _invalid("a mask of zeros and ones", "other floating-point values", "Use 1 for a training example.")
    return binary


def _from_index_lists(rows: Sequence[NDArray[Any]] | NDArray[Any], n: int) -> NDArray[np.bool_]:
    masks_Mn = np.zeros((len(rows), n), dtype=np.bool_)
    for i, row in enumerate(rows):
        if row.size and row.dtype.kind not in "iu":
            raise _invalid("integer indices", f"dtype {row.dtype} in subset {i}", "Give positions in [0, n).")
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
                f"{row.size - int(masks_Mn[i].sum())} repeated in subset {i}",
                f"Subsets are drawn without replacement; a mask would need {n} columns.",
            )
    return masks_Mn


def _unpack(bits: NDArray[Any], n: int | None) -> NDArray[np.bool_]:
    if n is None:
        raise _invalid("the number of training examples", "packed masks alone", "Give n_train.")
    width = -(-n // 8)
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.shape[1] != width:  # noqa: PLR2004
        raise _invalid(
            f"packed masks, uint8 (M, {width}) for n = {n}",
            f"{bits.dtype} {bits.shape}",
            "Pack with numpy.packbits(masks, axis=1, bitorder='little').",
        )
    unpacked = np.unpackbits(bits, axis=1, bitorder="little")
    if unpacked[:, n:].any():
        raise _invalid("zero padding bits", "ones after the last example", "Pack with bitorder='little'.")
    return unpacked[:, :n].astype(np.bool_)


def pack_masks(masks_Mn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Convert masks to packed bits, uint8 (M, ceil(n / 8)), little bit order."""
    return np.packbits(masks_Mn, axis=1, bitorder="little")


def count_duplicates(masks_Mn: NDArray[np.bool_]) -> int:
    """Return the number of subsets that repeat an earlier one."""
    return len(masks_Mn) - len({row.tobytes() for row in pack_masks(masks_Mn)})
