"""Read one array, selected by name, from a ``.safetensors`` or ``.npz`` file with several arrays. Nothing is ever unpickled.

Only programs on a user's or an operator's own machine call these functions: the server accepts only score files with one array.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ldsboard.formats import npz, safetensors
from ldsboard.formats.containers import no_such_array
from ldsboard.formats.headers import is_shape, unreadable, unsupported_type
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BF16 = "BF16"
TYPES = safetensors.TYPES | {
    BF16: np.dtype("<u2"),  # the upper half of a float32
    "BOOL": np.dtype("?"),
    **{f"{sign}{8 * size}": np.dtype(f"<{sign.lower()}{size}") for sign in "IU" for size in (1, 2, 4, 8)},
}
"""Types of the tensors that can be read, by the name in a safetensors header."""

MAX_HEADER_BYTES = 100_000_000
"""Largest number of bytes of a safetensors header; the safetensors library has the same limit."""


def read_named(path: Path, key: str) -> NDArray[Any]:
    """Return the array with the name `key`, of any shape; bfloat16 becomes float32, other types are kept.

    Parameters
    ----------
    path
        A ``.safetensors`` or ``.npz`` file.
    key
        Name of the array; in an ``.npz`` file, the name of the member without ``.npy``.

    Raises
    ------
    ProblemError
        ``scores.several``: the file has no array of this name; the message lists the names.
        ``scores.unreadable``, ``scores.truncated``, ``scores.damaged``, ``scores.dtype``: the array cannot be read.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(safetensors.PRELUDE + 1)
        file.seek(0)
        if start.startswith((npz.MAGIC, npz.EMPTY_MAGIC)):
            return _from_npz(file, key)
        if safetensors.begins(start):
            return read_stored(file, *stored_tensors(file), key)
    raise unreadable("a file that does not name its arrays", "Leave out --key.")


def stored_tensors(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and the position in the file from which its ``data_offsets`` count.

    The header maps the name of each tensor to its description, and can have the further key `safetensors.METADATA`. `file` must
    be at its first byte, and must be a file for which `safetensors.begins` is True.

    Raises
    ------
    ProblemError
        ``scores.unreadable``: the header is too long, or is not JSON.
    """
    length = int.from_bytes(file.read(safetensors.PRELUDE), "little")
    if length > MAX_HEADER_BYTES:
        raise unreadable(f"a header of {length} bytes, over the limit of {MAX_HEADER_BYTES}")
    try:
        tensors: dict[str, Any] = json.loads(file.read(length).decode())  # an object, since it begins with a brace
    except (ValueError, RecursionError):
        raise unreadable("a header that is not JSON") from None
    return tensors, safetensors.PRELUDE + length


def _from_npz(file: BinaryIO, key: str) -> NDArray[Any]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            if key not in archive.files:
                raise no_such_array(key, archive.files)
            found: NDArray[Any] = archive[key]
    except ProblemError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ProblemError(
            "scores.damaged", f"The archive cannot be read: {str(error)[:120]}.", "Save the scores again."
        ) from error
    except (ValueError, MemoryError, NotImplementedError, RuntimeError, OverflowError, SyntaxError) as error:
        raise unreadable(f"an archive in which {key[:60]!r} is no array of numbers ({str(error)[:80]})") from error
    if not isinstance(found, np.ndarray):
        raise unreadable(f"an archive in which {key[:60]!r} is not a .npy file")
    return found


def read_stored(file: BinaryIO, tensors: dict[str, Any], begin_of_tensors: int, key: str) -> NDArray[Any]:
    """Return the tensor with the name `key` of a safetensors file; bfloat16 becomes float32, other types are kept.

    `tensors` and `begin_of_tensors` are what `stored_tensors` returned for `file`. The array can be read-only.

    Raises
    ------
    ProblemError
        ``scores.several``: the file has no tensor of this name.
        ``scores.unreadable``, ``scores.truncated``, ``scores.dtype``: the tensor cannot be read.
    """
    if key == safetensors.METADATA or key not in tensors:
        raise no_such_array(key, tensors.keys() - {safetensors.METADATA})
    match tensors[key]:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]} if (
            is_shape(shape) and type(begin) is type(end) is int and 0 <= begin <= end
        ):
            pass
        case _:
            raise unreadable(f"a header that does not describe {key[:60]!r} by dtype, shape and data_offsets")
    if dtype not in TYPES:
        raise unsupported_type(f"type {dtype[:60]!r}")
    size, offset = math.prod(shape) * TYPES[dtype].itemsize, begin_of_tensors + begin
    held = min(end - begin, max(0, os.fstat(file.fileno()).st_size - offset))
    if not held == size == end - begin:
        raise ProblemError.mismatch(
            "scores.truncated",
            expected=f"{size} bytes for {dtype} {tuple(shape)}",
            got=f"{held} of {end - begin} bytes",
            hint="Save the scores again. If the file is a copy, copy the file again.",
        )
    file.seek(offset)
    content = file.read(size)
    array = np.frombuffer(content, TYPES[dtype]).reshape(shape)
    return (array.astype("<u4") << 16).view("<f4") if dtype == BF16 else array
