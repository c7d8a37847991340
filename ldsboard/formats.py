"""Score files: which format their first bytes are of, what they tell, and how the scores are opened.

``.npy``, ``.safetensors`` and ``.npz`` are read; of others that people try it is said what they are. Nothing is ever unpickled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from ldsboard import npy, npz, safetensors
from ldsboard.headers import HEADER_LIMIT, Header, check_dimensions, empty, pickled, unreadable

if TYPE_CHECKING:
    from os import PathLike

    from ldsboard.headers import ScoreArray
    from ldsboard.problems import ProblemError

__all__ = ["HEADER_LIMIT", "Header", "file_header", "open_scores", "read_header"]

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
HDF5 = b"\x89HDF\r\n\x1a\n"


def read_header(start: bytes, size: int | None) -> Header:
    """Return what the first bytes of a file tell of its scores: a table of float16, float32 or float64.

    Takes no more time and memory than `start` does, whatever it claims.

    Parameters
    ----------
    start
        The first bytes of the file, `HEADER_LIMIT` of them unless the file is shorter.
    size
        Bytes of the whole file; None while that is not known.

    Raises
    ------
    ProblemError
        With a code that begins with ``scores.``.
    """
    header = _parse(start[:HEADER_LIMIT])
    check_dimensions(header.shape)
    if size is not None:
        header.check_size(size)
    return header


def _parse(start: bytes) -> Header:
    if not start:
        raise empty("0 bytes")
    if start.startswith(npy.MAGIC):
        return npy.parse(start)
    if start.startswith((npz.MAGIC, npz.EMPTY_MAGIC)):
        return npz.parse(start)
    if safetensors.begins(start):
        return safetensors.parse(start)
    raise _unsupported_format(start)


def _unsupported_format(start: bytes) -> ProblemError:
    """Return the error of a file in no format that is read."""
    if start.startswith(PICKLES):
        return pickled("a pickle")
    if start.startswith(HDF5):
        return unreadable("an HDF5 file", "Convert it: numpy.save('scores.npy', h5py.File('scores.h5')['scores'][:]).")
    for magic, name in COMPRESSED.items():
        if start.startswith(magic):
            return unreadable(f"a file compressed by {name}", "Decompress it first.")
    if start.isascii() and start.decode().replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return unreadable(
            f"a text that begins with {start[:20].decode()!r}",
            "Convert it: numpy.save('scores.npy', numpy.loadtxt('scores.csv', delimiter=',')).",
        )
    return unreadable(f"a file that begins with {start[:6]!r}")


def file_header(path: str | PathLike[str]) -> Header:
    """Return the header of a file, checked against the file's size; see `read_header`."""
    with Path(path).open("rb") as file:
        return _header_of(file)


def _header_of(file: BinaryIO) -> Header:
    return read_header(file.read(HEADER_LIMIT), os.fstat(file.fileno()).st_size)


def open_scores(path: str | PathLike[str]) -> ScoreArray:
    """Return the scores of a file, memory-mapped unless they are compressed, after its header and size were checked.

    Raises
    ------
    ProblemError
        A ValueError: the file is not a two-dimensional floating-point array.
    OSError
        The file cannot be read.
    """
    with Path(path).open("rb") as file:
        header = _header_of(file)
        if isinstance(header, npz.MemberHeader):
            return npz.open_scores(file, header)
        order: Literal["C", "F"] = "F" if header.fortran_order else "C"
        scores_nN: ScoreArray = np.memmap(file, header.dtype, "r", header.offset, header.shape, order)
        return scores_nN
