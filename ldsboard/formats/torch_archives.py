"""Read tensors and NumPy arrays in a ``torch.save`` file, without torch and without running anything that the file asks for.

``torch.save`` writes a zip archive: a pickle, and one member with the numbers of each storage [1]_.

.. [1] https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ldsboard.formats.array_pickles import ArrayPickleError, ArrayUnpickler, StandIn

if TYPE_CHECKING:
    import io
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

TYPES = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "i2",
    "IntStorage": "i4",
    "LongStorage": "i8",
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "BFloat16Storage": "u2",
}
"""Type of the numbers in a storage, by the name of its class; a number of bfloat16 is the upper half of a float32."""

BFLOAT16 = "BFloat16Storage"
PICKLE = "/data.pkl"


def is_archive(names: list[str]) -> bool:
    """Return whether a zip archive with members of these names was written by ``torch.save``."""
    return any(name.endswith(PICKLE) for name in names)


def read_archive(path: Path) -> Any:
    """Return the content of a ``torch.save`` file: arrays in the place of tensors, in dicts, lists and tuples.

    bfloat16 becomes float32. The arrays can be read-only.

    Parameters
    ----------
    path
        A zip archive for which `is_archive` is True.

    Raises
    ------
    ArrayPickleError
        A ValueError: the file is damaged, or holds something other than dense real tensors, arrays, numbers, text and containers.
    zipfile.BadZipFile
        The member with the pickle, or the directory of the archive, is damaged.
    OSError
        The file cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ArrayPickleError("its members are compressed, as torch never writes them")
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith(PICKLE))
        folder = pickled.removesuffix(PICKLE)
        is_big = f"{folder}/byteorder" in names and archive.read(f"{folder}/byteorder") == b"big"

        @cache
        def numbers(kind: str, key: str) -> NDArray[Any]:
            return storage_numbers(archive.read(f"{folder}/data/{key}"), kind, ">" if is_big else "<")

        return TensorUnpickler(archive.read(pickled), numbers).content()


class TensorUnpickler(ArrayUnpickler):
    """Reads a pickle of ``torch.save``, whose tensors have their numbers elsewhere.

    `numbers` returns the numbers of a storage, one-dimensional, from the name of its class, which is in `TYPES`, and its key.
    """

    def __init__(self, content: bytes | io.BytesIO, numbers: Callable[[str, str], NDArray[Any]]) -> None:
        super().__init__(content)
        self._numbers = numbers
        self.names |= {("torch", name): name for name in TYPES} | {
            ("torch._utils", "_rebuild_tensor_v2"): StandIn(_tensor),
            ("torch._utils", "_rebuild_parameter"): StandIn(_parameter),
        }

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """Return the numbers of one storage; `pid` is ("storage", class, key, device, number of elements, …)."""
        _, kind, key, *_ = pid
        return self._numbers(kind, key)


def storage_numbers(content: bytes, kind: str, byte_order: Literal["<", ">"]) -> NDArray[Any]:
    """Return the numbers in the bytes of a storage of the class `kind`; bfloat16 becomes float32."""
    values = np.frombuffer(content, np.dtype(TYPES[kind]).newbyteorder(byte_order))
    return (values.astype("<u4") << 16).view("<f4") if kind == BFLOAT16 else values


def _tensor(
    storage: NDArray[Any],
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    _requires_grad: object,
    _hooks: object,
    metadata: dict[str, bool] | None = None,
) -> NDArray[Any]:
    """Return a tensor as an array; offset and strides are counted in numbers, not in bytes."""
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if offset < 0 or min((*shape, *strides), default=0) < 0 or (0 not in shape and last >= storage.size):
        raise ArrayPickleError("a tensor has more numbers than its storage")
    steps = [stride * storage.itemsize for stride in strides]
    tensor = np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)
    return -tensor if (metadata or {}).get("neg") else tensor


def _parameter(tensor: NDArray[Any], *_: object) -> NDArray[Any]:
    return tensor
