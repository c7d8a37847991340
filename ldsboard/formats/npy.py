"""Parse the header of NumPy's ``.npy`` files, versions 1 to 3.

numpy's own parser is not safe for untrusted files. Such a file can claim 2**40 elements, hold pickles, or have a malformed
header. This parser allocates no array, and raises a ProblemError for pickles and for malformed headers. Only
`Header.check_size` compares the claimed shape with the size of the file.
"""

from __future__ import annotations

import ast
import struct

import numpy as np

from ldsboard.formats.headers import FORMATS, HEADER_LIMIT, SAVE_HINT, Header, is_shape, unreadable, unsupported_type
from ldsboard.problems import ProblemError

MAGIC = b"\x93NUMPY"


def parse(start: bytes) -> Header:
    """Parse the header of a file that begins with `MAGIC`.

    Parameters
    ----------
    start
        The first `HEADER_LIMIT` bytes of the file; the whole file if it is shorter.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the header is malformed, incomplete or too long, or its version is unknown.
        ``scores.object``: the array holds Python objects.
        ``scores.dtype``: the type is not float16, float32 or float64.
    """
    offset, text = _header_text(start)
    try:
        fields = ast.literal_eval(text)
        descr, fortran_order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise unreadable("a header that is not a description of an array") from None
    valid_shape = isinstance(shape, tuple) and is_shape(shape)
    if len(fields) != 3 or type(fortran_order) is not bool or not valid_shape:  # noqa: PLR2004
        raise unreadable("a header with a malformed shape or order")
    return Header(_item_type(descr), fortran_order, shape, offset)


def _header_text(start: bytes) -> tuple[int, str]:
    """Return the position of the first byte after the header, and the text of the header."""
    prelude = {1: (10, "<H", "latin1"), 2: (12, "<I", "latin1"), 3: (12, "<I", "utf-8")}
    if len(start) < 12 or start[6] not in prelude:  # noqa: PLR2004
        raise unreadable("a truncated header or an unknown .npy version")
    begin, size_format, encoding = prelude[start[6]]
    offset = begin + struct.unpack(size_format, start[8:begin])[0]
    if offset > HEADER_LIMIT:
        raise unreadable(f"a header of {offset} bytes, over the limit of {HEADER_LIMIT}")
    if offset > len(start):
        raise unreadable("a file that ends within its header")
    try:
        return offset, start[begin:offset].decode(encoding)
    except UnicodeDecodeError:
        raise unreadable("a header that is not text") from None


def _item_type(descr: object) -> np.dtype[np.floating]:
    # Check the type code before numpy.dtype() sees it: numpy.dtype() also interprets strings that are not plain type codes.
    if isinstance(descr, str) and descr in ("|O", "O"):
        raise ProblemError.mismatch(
            "scores.object",
            expected=FORMATS,
            got="an array of Python objects, which cannot be read without unpickling",
            hint="Stack the scores into one numeric array. " + SAVE_HINT,
        )
    if isinstance(descr, str) and descr[1:] in ("f2", "f4", "f8") and descr[0] in "<>=":
        return np.dtype(descr)
    raise unsupported_type(f"type {descr[:60]!r}" if isinstance(descr, str) else "a structured or unknown type")
