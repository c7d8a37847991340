"""Read files of torch before version 1.6 and of ``_use_new_zipfile_serialization=False``, without torch.

Such a file is a sequence of pickles: a magic number, a version, a description of the machine, the content, and the keys of its
storages. Then come the storages in the order of the keys: the number of elements in 8 bytes, and the elements.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ldsboard.formats.array_pickles import ArrayPickleError, ArrayUnpickler, StandIn
from ldsboard.formats.torch_archives import TYPES, TensorUnpickler, storage_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""End of the first pickle, the magic number."""

LONGEST_FIRST = 32
LENGTH = 8


def begins(start: bytes) -> bool:
    """Return whether a file that begins with these bytes is a sequence of pickles of torch."""
    return start.startswith(b"\x80") and MAGIC in start[:LONGEST_FIRST]


def read_stream(content: bytes) -> Any:
    """Return what `ldsboard.formats.torch_archives.read_archive` returns for an archive of the same content.

    Parameters
    ----------
    content
        Bytes of a file for which `begins` is True.

    Raises
    ------
    ArrayPickleError
        A ValueError: the file is damaged, or holds something other than dense real tensors, arrays, numbers, text and containers.
    """
    stream = io.BytesIO(content)
    *_, machine = [ArrayUnpickler(stream).content() for _ in range(3)]
    order: Literal["<", ">"] = ">" if isinstance(machine, dict) and machine.get("little_endian") is False else "<"
    begin = stream.tell()
    kinds: dict[str, str] = {}
    _Kinds(stream, kinds).content()
    storages: dict[str, NDArray[Any]] = {}
    for key in ArrayUnpickler(stream).content():
        if key not in kinds:
            raise ArrayPickleError("it lists numbers of no tensor")
        size = int.from_bytes(stream.read(LENGTH), "little") * np.dtype(TYPES[kinds[key]]).itemsize
        if size > len(content) - stream.tell():
            raise ArrayPickleError("it ends before the last number")
        storages[key] = storage_numbers(stream.read(size), kinds[key], order)
    stream.seek(begin)
    return TensorUnpickler(stream, lambda _, key: storages[key]).content()


class _Kinds(TensorUnpickler):
    """Reads a pickle without its tensors, to learn where it ends; the class of each storage goes to `kinds`, by its key."""

    def __init__(self, stream: io.BytesIO, kinds: dict[str, str]) -> None:
        def note(kind: str, key: str) -> NDArray[Any]:
            kinds[key] = kind
            return np.empty(0)

        super().__init__(stream, note)
        self.names |= {name: StandIn(lambda *_: None) for name in self.names if name[0] == "torch._utils"}
