"""Read score files: detect the format, parse the header, and open the scores.

``.npy``, ``.safetensors`` and ``.npz`` files are supported. For other common formats, the error names the format. Nothing is ever
unpickled.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from ldsboard.formats import npy, npz, safetensors
from ldsboard.formats.headers import HEADER_LIMIT, SAVE_HINT, Header, check_dimensions, empty, pickled, unreadable

if TYPE_CHECKING:
    from os import PathLike

    from ldsboard.formats.headers import ScoreArray
    from ldsboard.problems import ProblemError

__all__ = ["HEADER_LIMIT", "Header", "file_header", "open_scores", "read_header"]

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
HDF5 = b"\x89HDF\r\n\x1a\n"


def read_header(start: bytes, size: int | None) -> Header:
    """Parse and check the header of a score file.

    Time and memory are bounded by the length of `start`, whatever sizes the header claims.

    Parameters
    ----------
    start
        The first `HEADER_LIMIT` bytes of the file; the whole file if it is shorter.
    size
        Number of bytes of the whole file. With None, the size is not checked.

    Returns
    -------
    Header
        The layout of a non-empty two-dimensional array of float16, float32 or float64.

    Raises
    ------
    ProblemError
        A ValueError with a code that begins with ``scores.``: the format is not supported, the header is not valid, or the size
        contradicts the header.
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
    """Return the error for a file in an unsupported format; the message names the format if it is a common one."""
    if start.startswith(PICKLES):
        return pickled("a pickle")
    if start.startswith(HDF5):
        return unreadable(
            "an HDF5 file", f"Open the file with h5py, and read the scores from it as an array. {SAVE_HINT}"
        )
    for magic, name in COMPRESSED.items():
        if start.startswith(magic):
            return unreadable(f"a file compressed by {name}", "Decompress the file first.")
    if start.isascii() and start.decode().replace("\n", "").replace("\r", "").replace("\t", "").isprintable():
        return unreadable(
            f"a text that begins with {start[:20].decode()!r}",
            f"The command line reads texts of numbers on your own machine. {SAVE_HINT}",
        )
    return unreadable(f"a file that begins with {start[:6]!r}")


def file_header(path: str | PathLike[str]) -> Header:
    """Return the header of a score file; raise the errors of `read_header` if the header or the size of the file is wrong."""
    with Path(path).open("rb") as file:
        return _header_of(file)


def _header_of(file: BinaryIO) -> Header:
    return read_header(file.read(HEADER_LIMIT), os.fstat(file.fileno()).st_size)


def open_scores(path: str | PathLike[str]) -> ScoreArray:
    """Return the scores in a file, after checking the header and the size of the file.

    Parameters
    ----------
    path
        A ``.npy``, ``.safetensors`` or ``.npz`` file with one array.

    Returns
    -------
    numpy.ndarray
        The scores, float16, float32 or float64, (n, N). The values are not checked. The array is memory-mapped and
        read-only, unless the file is a compressed ``.npz``. Every ``.npz`` is read as a whole, to verify its checksum.

    Raises
    ------
    ProblemError
        A ValueError: the file does not hold exactly one two-dimensional floating-point array, or is damaged.
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
