"""Read tables of numbers (subsets, margins, labels) from the file formats of other projects, without converting them.

The content of a file decides how the file is read, not its suffix. `ldsboard.formats.array_pickles` reads pickles, and
`ldsboard.formats.torch_archives` reads files of ``torch.save``. Neither runs code of a file.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.formats import safetensors, torch_streams
from ldsboard.formats.array_pickles import ArrayPickleError, load_arrays
from ldsboard.formats.lines import RemedyError
from ldsboard.formats.named_arrays import read_named
from ldsboard.formats.npy import MAGIC as NPY
from ldsboard.formats.torch_archives import is_archive, read_archive
from ldsboard.importing.containers import Part, choose, stack_equal_rows
from ldsboard.importing.texts import read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

INDICES = "indices.txt"
ROW = re.compile(r"arr_\d+")
"""Name that ``numpy.savez`` gives to an array without a name."""

PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
SAMPLE = 4096
READ_ERRORS = (
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    EOFError,
    TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors of numpy, zipfile and json for damaged files."""


class TableError(ValueError):
    """The error for a file that cannot be read, or contradicts another file or an option; the message names both and a remedy."""


@dataclass(frozen=True)
class RawArray:
    """Type and shape of the numbers in a file without a header, as ``numpy.memmap`` and ``ndarray.tofile`` write it.

    Attributes
    ----------
    dtype
        Type of the numbers, as a name for ``numpy.dtype``.
    shape
        Length of each axis.
    """

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, dtype: str, shape: str) -> RawArray:
        """Return the raw array with this type and with a shape such as ``400,1200``.

        Raises
        ------
        TableError
            The type is unknown or does not hold real numbers, or the shape is malformed.
        """
        try:
            is_real = np.dtype(dtype).kind in "biuf"
        except (TypeError, SyntaxError):
            is_real = False
        if not is_real:
            raise TableError(f"--dtype: expected the name of a numpy type of real numbers, got {dtype[:60]!r}.")
        if not re.fullmatch(r"\d{1,12}(,\d{1,12})*", shape):
            raise TableError(f"--shape: expected the length of each axis, such as 400,1200, got {shape[:60]!r}.")
        return cls(dtype, tuple(map(int, shape.split(","))))


def read_table(
    path: Path, part: Part = Part.MASKS, key: str | None = None, raw: RawArray | None = None
) -> NDArray[Any] | list[NDArray[Any]]:
    """Read a table of numbers from a file, or from a folder of dattri.

    Parameters
    ----------
    path
        ``.npy`` (memory-mapped); ``.npz`` with one array, with one array for each row, in order, or with named arrays;
        ``.safetensors``; a zip file of ``torch.save`` or a pickle, with arrays or tensors in lists, tuples and dicts; a text that
        `ldsboard.importing.texts.read_text` reads; or a folder of dattri's ``retrain_lds``, which holds the subsets as
        ``0/indices.txt``, ``1/indices.txt`` and so on.
    part, key
        Which table of a file with several tables is read, see `ldsboard.importing.containers.choose`.
    raw
        Type and shape of the numbers in a file without a header; None for a file with a header. With `raw`, the file is read as
        plain numbers whatever it begins with, and is memory-mapped.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        One array if all rows have the same shape, otherwise a list with an array for each row.

    Raises
    ------
    TableError
        A ValueError: the file is damaged, does not hold rows of numbers, has no table named `key`, or has several tables of which
        any can be meant. Or `raw` needs another size than the file has.
    OSError
        The file cannot be opened.
    """
    if key is not None and (raw is not None or path.is_dir()):
        raise TableError(f"{path} holds one array without a name, so no key can choose {key[:60]!r}. Omit the key.")
    if raw is not None:
        return _read_raw(path, raw)
    if path.is_dir():
        table = stack_equal_rows(_read_numbered(path))
    else:
        try:
            table = choose(_read_file(path, part), part, key)
        except TableError:
            raise
        except RemedyError as error:
            raise TableError(
                f"Cannot read rows of numbers from {path}: {error} {error.command(path)}".rstrip()
            ) from error
        except READ_ERRORS as error:
            raise TableError(
                f"Cannot read rows of numbers from {path}: {str(error).removesuffix('.')[:600]}. "
                "Save the rows with numpy.save as .npy, or as JSON lists."
            ) from error
    kinds = {row.dtype.kind for row in table} if isinstance(table, list) else {table.dtype.kind}
    if not kinds or not kinds <= set("biuf") or (isinstance(table, np.ndarray) and not table.ndim):
        raise TableError(f"{path} does not hold rows of numbers. Save them with numpy.save as .npy, or as JSON lists.")
    return table


def read_array(
    path: Path, part: Part = Part.MARGINS, key: str | None = None, raw: RawArray | None = None
) -> NDArray[Any]:
    """Return the array that `read_table` reads; raise a TableError if the rows of the file have different shapes."""
    table = read_table(path, part, key, raw)
    if isinstance(table, list):
        lengths = sorted({row.size for row in table})
        raise TableError(f"Expected rows of equal length in {path}, got lengths from {lengths[0]} to {lengths[-1]}.")
    return table


def is_raw(path: Path) -> bool:
    """Return whether a file has none of the formats of `read_table`, so that a `RawArray` must state type and shape.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    if path.is_dir():
        return False
    with path.open("rb") as file:
        start = file.read(SAMPLE)
    return not (
        start.startswith((NPY, *PICKLES)) or _is_safetensors(path, start) or zipfile.is_zipfile(path) or _is_text(start)
    )


def _is_text(start: bytes) -> bool:
    """Return whether a file that begins with these bytes can be text in UTF-8: no control characters but white space."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # a character may be cut at the end of the sample
            return False
        text = start[: error.start].decode()
    return not any(character < " " and character not in "\t\n\r\f" for character in text)


def _read_raw(path: Path, raw: RawArray) -> NDArray[Any]:
    expected, found = math.prod(raw.shape) * np.dtype(raw.dtype).itemsize, path.stat().st_size
    if expected != found or not expected:
        raise TableError(
            f"{path} has {found:,} bytes, but {raw.dtype} of shape {raw.shape} needs {expected:,}. "
            "Correct --dtype or --shape."
        )
    return np.memmap(path, np.dtype(raw.dtype), "r", shape=raw.shape)


def _read_file(path: Path, part: Part) -> Any:
    with path.open("rb") as file:
        start = file.read(SAMPLE)
    if zipfile.is_zipfile(path) and not start.startswith(NPY):
        return _read_zip(path)
    if start.startswith(NPY):
        return _read_npy(path)
    if torch_streams.begins(start):
        return _restricted(path, lambda: torch_streams.read_stream(path.read_bytes()))
    if start.startswith(PICKLES):
        return _restricted(path, lambda: load_arrays(path.read_bytes()))
    if _is_safetensors(path, start):
        return _read_safetensors(path)
    if start.startswith(b"PK"):
        raise ValueError("the archive is damaged")
    if not _is_text(start):
        raise TableError(
            f"{path} is no text, and begins with none of the headers of .npy, .npz, .pt and .pkl files. If it is a raw "
            "numpy.memmap, add --dtype and --shape, such as --dtype float32 --shape 1000,500 for 1,000 rows of 500 numbers."
        )
    return read_text(path.read_text(encoding="utf-8"), margins=part is Part.MARGINS)


def _is_safetensors(path: Path, start: bytes) -> bool:
    """Return whether a file begins like safetensors: with the length of a header that fits in the file, then with ``{"``."""
    is_object = start[safetensors.PRELUDE :].startswith(b'{"')
    return is_object and int.from_bytes(start[: safetensors.PRELUDE], "little") < path.stat().st_size


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(safetensors.PRELUDE), "little")))
    return {name: read_named(path, name) for name in header if name != safetensors.METADATA}


def _read_npy(path: Path) -> Any:
    try:
        # The file is memory-mapped, because masks of 50,000 bytes for many thousand models are large.
        return np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        if "Python objects" not in str(error):
            raise
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
        return _restricted(path, lambda: load_arrays(file.read()))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if is_archive(names):
        return _restricted(path, lambda: read_archive(path))
    with np.load(path, allow_pickle=False) as found:
        arrays = {name: np.asarray(found[name]) for name in found.files}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    is_rows = all(map(ROW.fullmatch, arrays)) or all(array.ndim == 1 for array in arrays.values())
    return list(arrays.values()) if is_rows else arrays


def _restricted(path: Path, read: Callable[[], Any]) -> Any:
    """Return what `read` returns, and turn an ArrayPickleError into a TableError."""
    try:
        return read()
    except ArrayPickleError as error:
        raise _pickle_error(path, error) from error


def _pickle_error(path: Path, error: ArrayPickleError) -> TableError:
    return TableError(
        f"{path} is a pickle of which only numbers, arrays, dense tensors and containers of these are read, because a pickle can "
        f"run any code: {error}. Nothing was run. Save only the numbers, in the program that wrote the file: numpy.save as .npy."
    )


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
