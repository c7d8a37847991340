"""Parse the header of safetensors files.

The first 8 bytes of a file state the length of the JSON text that follows. The bytes of the tensors come after the JSON text. The
safetensors library is not used, because it memory-maps whole files and builds an object for every tensor.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ldsboard.formats.headers import HEADER_LIMIT, SAVE_HINT, Header, is_shape, several, unreadable, unsupported_type

PRELUDE = 8
TYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
METADATA = "__metadata__"
ONE_HINT = f"The command line reads most files of several tensors. {SAVE_HINT}"


def begins(start: bytes) -> bool:
    """Return whether `start`, the first bytes of a file, looks like a safetensors file: a ``{`` follows the first 8 bytes."""
    return start[PRELUDE : PRELUDE + 1] == b"{"


def parse(start: bytes) -> Header:
    """Parse the header of a file for which `begins` is True, and check that the header describes exactly one tensor.

    Parameters
    ----------
    start
        The first `HEADER_LIMIT` bytes of the file; the whole file if it is shorter.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the header is malformed, incomplete or too long.
        ``scores.several``: the header does not describe exactly one tensor.
        ``scores.dtype``: the type is not one of `TYPES`.
    """
    offset = PRELUDE + int.from_bytes(start[:PRELUDE], "little")
    if offset > HEADER_LIMIT:
        raise unreadable(f"a header of {offset} bytes, over the limit of {HEADER_LIMIT}", ONE_HINT)
    if offset > len(start):
        raise unreadable("a file that ends within its header")
    try:
        fields = json.loads(start[PRELUDE:offset].decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise unreadable("a header that is not JSON, or has a repeated name", ONE_HINT) from None
    names = [name for name in fields if name != METADATA]
    if len(names) != 1:
        raise several(names, ONE_HINT)
    return _header(fields[names[0]], offset)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("repeated name")
    return fields


def _header(tensor: object, offset: int) -> Header:
    match tensor:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **others} if (
            not others and is_shape(shape) and type(begin) is type(end) is int
        ):
            if dtype not in TYPES:
                raise unsupported_type(f"type {dtype[:60]!r}")
            header = Header(TYPES[dtype], fortran_order=False, shape=tuple(shape), offset=offset)
            if (begin, end) == (0, header.data_size):
                return header
            raise unreadable(f"data_offsets that are not those of one {dtype} tensor {header.shape}"[:200], ONE_HINT)
    raise unreadable("a header that does not describe a tensor by dtype, shape and data_offsets", ONE_HINT)
