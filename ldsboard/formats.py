"""Score files: what their first bytes tell, before anything is read or allocated.

The header of a ``.npy`` file is parsed here rather than by numpy, because a file from a stranger may claim 2**40 elements, hold
pickles, or carry a header that is no header at all; each of these must become a clear problem, not a MemoryError.
"""

from __future__ import annotations

import ast
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from os import PathLike


ScoreArray = NDArray[np.float16] | NDArray[np.float32] | NDArray[np.float64]

MAGIC = b"\x93NUMPY"
HEADER_LIMIT = 64 * 1024
"""Bytes from the start of a file within which its header must end."""

MAX_DIMENSIONS, MAX_SIDE = 64, 2**63
"""What numpy itself can describe."""

SAVE_HINT = "Save the scores with numpy.save('scores.npy', scores.astype('float32'))."


@dataclass(frozen=True)
class NpyHeader:
    """What the header of a ``.npy`` file says: item type, order, shape, and where the data begin."""

    dtype: np.dtype[Any]
    fortran_order: bool
    shape: tuple[int, ...]
    offset: int

    @property
    def file_size(self) -> int:
        """Bytes of the whole file, if the header is true."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def _unreadable(got: str) -> ProblemError:
    return ProblemError("scores.unreadable", expected="a NumPy .npy file", got=got, hint=SAVE_HINT)


def parse_npy_header(start: bytes) -> NpyHeader:
    """Parse the header of a ``.npy`` file (format versions 1 to 3) of float16, float32 or float64.

    Parameters
    ----------
    start
        The first bytes of the file, `HEADER_LIMIT` of them unless the file is shorter.

    Raises
    ------
    ProblemError
        With code ``scores.empty``, ``scores.unreadable``, ``scores.object`` or ``scores.dtype``.
    """
    if not start:
        raise ProblemError("scores.empty", expected="a NumPy .npy file", got="0 bytes", hint=SAVE_HINT)
    offset, text = _header_text(start)
    try:
        fields = ast.literal_eval(text)
        descr, fortran_order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise _unreadable("a header that is not a description of an array") from None
    valid_shape = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
    valid_shape = valid_shape and all(type(side) is int and 0 <= side < MAX_SIDE for side in shape)
    if len(fields) != 3 or type(fortran_order) is not bool or not valid_shape:  # noqa: PLR2004
        raise _unreadable("a header with a malformed shape or order")
    return NpyHeader(_item_type(descr), fortran_order, shape, offset)


def _header_text(start: bytes) -> tuple[int, str]:
    """Return where the data begin, and the text between the magic string and them."""
    if not start.startswith(MAGIC):
        archive = "a zip archive, as numpy.savez and torch.save write them"
        kind = archive if start.startswith(b"PK") else f"a file that begins with {start[:6]!r}"
        raise _unreadable(kind)
    prelude = {1: (10, "<H", "latin1"), 2: (12, "<I", "latin1"), 3: (12, "<I", "utf-8")}
    if len(start) < 12 or start[6] not in prelude:  # noqa: PLR2004
        raise _unreadable("a truncated header or an unknown .npy version")
    begin, size_format, encoding = prelude[start[6]]
    offset = begin + struct.unpack(size_format, start[8:begin])[0]
    if offset > HEADER_LIMIT:
        raise _unreadable(f"a header of {offset} bytes, over the limit of {HEADER_LIMIT}")
    if offset > len(start):
        raise _unreadable("a file that ends within its header")
    try:
        return offset, start[begin:offset].decode(encoding)
    except UnicodeDecodeError:
        raise _unreadable("a header that is not text") from None


def _item_type(descr: object) -> np.dtype[Any]:
    # Only the plain spelling: numpy.dtype() would evaluate far more than a type code.
    if isinstance(descr, str) and descr in ("|O", "O"):
        raise ProblemError(
            "scores.object",
            expected="float16, float32 or float64",
            got="an array of Python objects, which would have to be unpickled",
            hint="Stack the scores into one numeric array. " + SAVE_HINT,
        )
    if isinstance(descr, str) and descr[1:] in ("f2", "f4", "f8") and descr[0] in "<>=":
        return np.dtype(descr)
    got = f"type {descr[:60]!r}" if isinstance(descr, str) else f"a {type(descr).__name__} of types"
    raise ProblemError("scores.dtype", expected="float16, float32 or float64", got=got, hint=SAVE_HINT)


def check_size(header: NpyHeader, size: int) -> None:
    """Raise ``scores.truncated`` unless a file of `size` bytes is what its header claims."""
    if header.file_size != size:
        raise ProblemError(
            "scores.truncated",
            expected=f"{header.file_size} bytes for {header.dtype} {header.shape}",
            got=f"{size} bytes",
            hint="Write the file again, completely, and send it unchanged.",
        )


def open_scores(path: str | PathLike[str]) -> ScoreArray:
    """Return the scores of a ``.npy`` file, memory-mapped, after its header and size were checked.

    Raises
    ------
    ProblemError
        A ValueError: the file is not a two-dimensional floating-point array.
    OSError
        The file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        header = parse_npy_header(file.read(HEADER_LIMIT))
    check_dimensions(header.shape)
    check_size(header, path.stat().st_size)
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    scores_nN: ScoreArray = np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
    return scores_nN


def check_dimensions(shape: tuple[int, ...]) -> None:
    """Raise the error for scores that are not a table with at least one row and column."""
    if len(shape) == 2 and all(shape):  # noqa: PLR2004
        return
    raise ProblemError(
        "scores.empty" if 0 in shape else "scores.shape",
        expected="two dimensions (n training examples, N targets)",
        got=f"shape {shape}",
        hint="Give one row per training example and one column per target.",
    )
