"""Tables of numbers in the files that other projects write: subsets, margins and labels as they come, not yet judged.

Nothing is ever unpickled: what a pickle holds, its owner converts, and the error says how.
"""

from __future__ import annotations

import json
import zipfile
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

TORCH, PICKLES = (".pt", ".pth"), (".pkl", ".pickle")
INDICES = "indices.txt"


class TableError(ValueError):
    """A file cannot be read, or not used together with another; the message names it and says what to do."""


def read_table(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    """Read a file of numbers.

    Parameters
    ----------
    path
        ``.npy`` (memory-mapped); ``.npz`` with one array, or with the rows as arrays in their order; ``.json`` with nested lists;
        any other text with one row a line, values between commas or blanks; or a folder of dattri's ``retrain_lds``, which keeps
        the subsets as ``0/indices.txt``, ``1/indices.txt`` and so on.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        An array where all rows are alike, otherwise the rows.

    Raises
    ------
    TableError
        A ValueError: the file holds something else.
    OSError
        It cannot be opened.
    """
    table = _stack_equal_rows(_read_numbered(path)) if path.is_dir() else _read_file(path)
    kinds = {row.dtype.kind for row in table} if isinstance(table, list) else {table.dtype.kind}
    if not kinds or not kinds <= set("biuf") or (isinstance(table, np.ndarray) and not table.ndim):
        raise TableError(f"expected rows of numbers in {path}, got something else")
    return table


def read_array(path: Path) -> NDArray[Any]:
    """Read a file whose rows are all alike; see `read_table`."""
    table = read_table(path)
    if isinstance(table, list):
        lengths = sorted({row.size for row in table})
        raise TableError(f"expected rows of one length in {path}, got lengths from {lengths[0]} to {lengths[-1]}")
    return table


def _read_file(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    if path.suffix in (*TORCH, *PICKLES):
        raise _pickle_error(path, torch=path.suffix in TORCH)
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        if path.suffix == ".npy":
            # Mapped, because a mask of 50,000 bytes for each of many thousand models is large.
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            return array
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else _lines(text)
        return _stack_equal_rows(np.asarray(row) for row in rows)
    except (ValueError, TypeError, IndexError, SyntaxError, TokenError, zipfile.BadZipFile) as error:
        if "Python objects" in str(error):
            raise _pickle_error(path, torch=False) from None
        raise TableError(
            f"expected rows of numbers in {path}, got: {error}. Save them by numpy.save as .npy, or as JSON lists."
        ) from error


def _read_zip(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    with np.load(path, allow_pickle=False) as found:
        if any(name.endswith(".pkl") for name in found.files):
            raise _pickle_error(path, torch=True)
        arrays = [np.asarray(found[name]) for name in found.files]
    return _stack_equal_rows(arrays) if len(arrays) != 1 else arrays[0]


def _pickle_error(path: Path, *, torch: bool) -> TableError:
    """Say how a pickle, which could run any code when it is opened, becomes plain numbers."""
    load = (
        f"torch.load('{path.as_posix()}', map_location='cpu', weights_only=True)"
        if torch
        else f"numpy.load('{path.as_posix()}', allow_pickle=True)"
    )
    modules = "numpy, torch" if torch else "numpy"
    target = path.with_suffix(".npz").as_posix()  # a backslash would mean something else in the code that is told
    return TableError(
        f"expected plain numbers in {path}, got pickled objects, which this program never opens. If you trust the file, "
        f"convert it where you work: python -c \"import {modules}; numpy.savez('{target}', *{load})\"  and give {target} instead."
    )


def _lines(text: str) -> list[NDArray[Any]]:
    return [_row(number, line) for number, line in enumerate(text.splitlines(), 1)]


def _row(number: int, line: str) -> NDArray[Any]:
    cells = line.replace(",", " ").split()
    try:
        return np.array(list(map(int, cells)), dtype=np.int64)
    except ValueError:
        pass
    try:
        return np.array(list(map(float, cells)))
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None


def _read_numbered(folder: Path) -> list[NDArray[Any]]:
    """Read the subsets of dattri's ``retrain_lds``, in the order of their numbers."""
    found = {int(path.parent.name): path for path in folder.glob(f"*/{INDICES}") if path.parent.name.isdecimal()}
    absent = sorted(set(range(max(found, default=0) + 1)) - set(found))
    if absent:
        raise TableError(
            f"expected a folder for each subset from {folder / '0' / INDICES} on, as dattri's retrain_lds writes them, got none "
            f"for {', '.join(map(str, absent[:10]))}. Put the folders of all its jobs together."
        )
    return [np.array(found[i].read_text(encoding="utf-8").split(), dtype=np.int64) for i in range(len(found))]


def _stack_equal_rows(rows: Iterable[NDArray[Any]]) -> NDArray[Any] | list[NDArray[Any]]:
    """Stack rows of one shape; keep others as they are."""
    kept = list(rows)
    return np.stack(kept) if kept and len({row.shape for row in kept}) == 1 else kept
