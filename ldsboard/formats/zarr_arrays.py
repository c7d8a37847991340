"""Read zarr folders, versions 2 and 3, as pyDVL writes them; codecs other than gzip and zlib need the zarr package."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ldsboard.formats.headers import check_dimensions, is_shape, unreadable
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

V2, V3 = ".zarray", "zarr.json"
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {"bytes": bytes, "gzip": gzip.decompress, "zlib": zlib.decompress}
BY_PACKAGE = {"blosc", "bz2", "crc32c", "lz4", "lzma", "transpose", "zstd"}
"""Codecs that are left to the zarr package. Others are refused, because one of them, ``pickle``, can run any code."""

UNDECODED = "Write the array without compression, or with gzip, blosc or zstd."
WITHOUT_ZARR = "Install the zarr package in the environment of ldsboard, and repeat the command."


@dataclass(frozen=True)
class Layout:
    """How an array is stored: in chunks of equal shape, one file each; the values of a chunk without a file are `fill`.

    `codecs` are in the order in which they encode a chunk. `prefix` and `separator` make the names of the files.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"]
    fill: Any
    codecs: tuple[str, ...]
    prefix: str
    separator: str

    def name(self, index: tuple[int, ...]) -> str:
        """Return the name of a chunk's file inside the folder."""
        return self.prefix + self.separator.join(map(str, index))


def begins(folder: Path) -> bool:
    """Return whether a folder is an array or a group of zarr."""
    return any((folder / name).is_file() for name in (V2, V3, ".zgroup"))


def read_folder(folder: Path) -> NDArray[Any]:
    """Return the numbers of a zarr array with two dimensions.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the folder is a group, has descriptions of both versions, or has one that cannot be read; a codec
        is unknown; or a codec needs the zarr package, and that package is missing or cannot read the array.
        ``scores.damaged``: a chunk cannot be read, or has a wrong size.
        ``scores.shape``: the array does not have two dimensions. ``scores.empty``: a dimension is 0.
    """
    if (folder / V2).is_file() and (folder / V3).is_file():
        raise unreadable("a zarr folder of two versions", f"Remove {V2} or {V3}, whichever is older.")
    if (folder / V3).is_file():
        layout = _described(folder / V3, _version_3)
    elif (folder / V2).is_file():
        layout = _described(folder / V2, _version_2)
    else:
        raise unreadable("a group of zarr arrays", "Name the folder of one array inside the group.")
    check_dimensions(layout.shape)
    unknown = set(layout.codecs) - BY_PACKAGE - DECOMPRESS.keys()
    if unknown:
        raise unreadable(f"a zarr folder whose chunks are encoded by {min(unknown)[:40]!r}", UNDECODED)
    if not set(layout.codecs) <= DECOMPRESS.keys():
        return _by_package(folder, layout.codecs)
    array = np.full(layout.shape, layout.fill, layout.dtype)
    for index in np.ndindex(*(-(-side // step) for side, step in zip(layout.shape, layout.chunk, strict=True))):
        path = folder / layout.name(index)
        if path.is_file():
            corner = tuple(slice(at * step, (at + 1) * step) for at, step in zip(index, layout.chunk, strict=True))
            room = array[corner]
            room[...] = _chunk(path, layout)[tuple(slice(side) for side in room.shape)]
    return array


def _chunk(path: Path, layout: Layout) -> NDArray[Any]:
    try:
        content = path.read_bytes()
        for codec in reversed(layout.codecs):
            content = DECOMPRESS[codec](content)
        values = np.frombuffer(content, layout.dtype)
        return values.reshape(layout.chunk, order=layout.order)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        detail = f"The chunk {path.name} of the zarr array cannot be read: {str(error)[:120]}."
        raise ProblemError("scores.damaged", detail, "Copy or write the folder again.") from error


def _described(path: Path, read: Callable[[dict[str, Any]], Layout]) -> Layout:
    """Return the layout that a description in JSON states."""
    try:
        about = json.loads(path.read_text())
        if about.get("node_type", "array") != "array":
            raise unreadable("a group of zarr arrays", "Name the folder of one array inside the group.")
        layout = read(about)
    except ProblemError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        got = f"a zarr folder whose {path.name} cannot be understood ({str(error)[:60]})"
        raise unreadable(got, WITHOUT_ZARR) from None
    fits = is_shape(layout.shape) and is_shape(layout.chunk) and len(layout.shape) == len(layout.chunk)
    if not fits or 0 in layout.chunk or layout.dtype.kind not in "fiub" or layout.separator not in ("/", "."):
        raise unreadable("a zarr folder that does not describe an array of real numbers", WITHOUT_ZARR)
    return layout


def _version_2(about: dict[str, Any]) -> Layout:
    steps = [*(about.get("filters") or []), *([about["compressor"]] if about["compressor"] else [])]
    order: Literal["C", "F"] = "F" if about["order"] == "F" else "C"
    sides = tuple(about["shape"]), tuple(about["chunks"])
    names = tuple(str(step["id"]) for step in steps)
    separator = str(about.get("dimension_separator", "."))
    return Layout(*sides, np.dtype(str(about["dtype"])), order, about["fill_value"] or 0, names, "", separator)


def _version_3(about: dict[str, Any]) -> Layout:
    grid, keys = about["chunk_grid"], about["chunk_key_encoding"]
    names = tuple(str(codec["name"]) for codec in about["codecs"])
    if grid["name"] != "regular":
        names = (str(grid["name"]),)
    endian = (about["codecs"][0].get("configuration") or {}).get("endian", "little")
    dtype = np.dtype(str(about["data_type"])).newbyteorder("<" if endian == "little" else ">")
    is_default = keys["name"] == "default"
    separator = str((keys.get("configuration") or {}).get("separator", "/" if is_default else "."))
    sides = tuple(about["shape"]), tuple(grid["configuration"]["chunk_shape"])
    prefix = f"c{separator}" if is_default else ""
    return Layout(*sides, dtype, "C", about["fill_value"], names, prefix, separator)


def _by_package(folder: Path, codecs: tuple[str, ...]) -> NDArray[Any]:
    try:
        zarr = import_module("zarr")
    except ImportError:
        got = f"a zarr folder whose chunks are encoded by {', '.join(codecs)}"
        raise unreadable(got, WITHOUT_ZARR) from None
    try:
        return np.asarray(zarr.open(str(folder), mode="r")[...])
    except Exception as error:
        got = f"a zarr folder that the zarr package cannot read ({str(error)[:80]})"
        raise unreadable(got, "Copy or write the folder again.") from error
