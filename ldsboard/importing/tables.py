"""Read tables of numbers (subsets, margins, labels) from the file formats of other projects, without interpreting them.

Nothing is ever unpickled. The error for a pickle contains a command that converts the pickle on the user's own machine.
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
    """The error for a file that cannot be read or contradicts another file; the message names the files and a remedy."""


def read_table(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    """Read a file of numbers.

    Parameters
    ----------
    path
        ``.npy`` (memory-mapped); ``.npz`` with one array, or with one array for each row, in order; ``.json`` with nested lists;
        any other text file with one row per line, values separated by commas or white space; or a folder of dattri's
        ``retrain_lds``, which holds the subsets as ``0/indices.txt``, ``1/indices.txt`` and so on.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        One array if all rows have the same shape, otherwise a list with an array for each row.

    Raises
    ------
    TableError
        A ValueError: the file does not hold rows of numbers.
    OSError
        The file cannot be opened.
    """
    table = _stack_equal_rows(_read_numbered(path)) if path.is_dir() else _read_file(path)
    kinds = {row.dtype.kind for row in table} if isinstance(table, list) else {table.dtype.kind}
    if not kinds or not kinds <= set("biuf") or (isinstance(table, np.ndarray) and not table.ndim):
        raise TableError(f"{path} does not hold rows of numbers. Save them with numpy.save as .npy, or as JSON lists.")
    return table


def read_array(path: Path) -> NDArray[Any]:
    """Read a file of numbers as `read_table` does; raise a TableError unless all rows have the same shape."""
    table = read_table(path)
    if isinstance(table, list):
        lengths = sorted({row.size for row in table})
        raise TableError(f"Expected rows of equal length in {path}, got lengths from {lengths[0]} to {lengths[-1]}.")
    return table


def _read_file(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    if path.suffix in (*TORCH, *PICKLES):
        raise _pickle_error(path, torch=path.suffix in TORCH)
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        if path.suffix == ".npy":
            # The file is memory-mapped, because masks of 50,000 bytes for many thousand models are large.
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
            return array
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text) if path.suffix == ".json" else _lines(text)
        return _stack_equal_rows(np.asarray(row) for row in rows)
    except (ValueError, TypeError, IndexError, SyntaxError, TokenError, zipfile.BadZipFile) as error:
        if "Python objects" in str(error):
            raise _pickle_error(path, torch=False) from None
        raise TableError(
            f"Cannot read rows of numbers from {path}: {error}. Save the rows with numpy.save as .npy, or as JSON lists."
        ) from error


def _read_zip(path: Path) -> NDArray[Any] | list[NDArray[Any]]:
    with np.load(path, allow_pickle=False) as found:
        if any(name.endswith(".pkl") for name in found.files):
            raise _pickle_error(path, torch=True)
        arrays = [np.asarray(found[name]) for name in found.files]
    return _stack_equal_rows(arrays) if len(arrays) != 1 else arrays[0]


def _pickle_error(path: Path, *, torch: bool) -> TableError:
    """Return the error for a pickle, which could run any code when opened; the message has a command that converts the pickle."""
    load = (
        f"torch.load('{path.as_posix()}', map_location='cpu', weights_only=True)"
        if torch
        else f"numpy.load('{path.as_posix()}', allow_pickle=True)"
    )
    modules = "numpy, torch" if torch else "numpy"
    target = path.with_suffix(".npz").as_posix()  # a backslash would start an escape sequence in the command
    return TableError(
        f"{path} holds pickled objects, which this program never opens: they can run any code. If you trust the file, "
        f"convert it on your own machine: python -c \"import {modules}; numpy.savez('{target}', *{load})\"  "
        f"and give {target} instead."
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
    """Read the index lists that dattri's ``retrain_lds`` wrote, in the order of the folder numbers."""
    found = {int(path.parent.name): path for path in folder.glob(f"*/{INDICES}") if path.parent.name.isdecimal()}
    absent = sorted(set(range(max(found, default=0) + 1)) - set(found))
    if absent:
        raise TableError(
            f"{folder} has no {INDICES} for subset {', '.join(map(str, absent[:10]))}. Dattri's retrain_lds writes one "
            f"folder for each subset, beginning with {folder / '0'}. Copy the folders of all retrain_lds jobs into {folder}."
        )
    return [np.array(found[i].read_text(encoding="utf-8").split(), dtype=np.int64) for i in range(len(found))]


def _stack_equal_rows(rows: Iterable[NDArray[Any]]) -> NDArray[Any] | list[NDArray[Any]]:
    """Stack the rows into one array if all rows have the same shape; otherwise return a list of the rows."""
    kept = list(rows)
    return np.stack(kept) if kept and len({row.shape for row in kept}) == 1 else kept
