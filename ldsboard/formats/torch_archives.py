"""Read tensors and NumPy arrays in a ``torch.save`` file, without torch and without running anything that the file asks for.

``torch.save`` writes a zip archive: a pickle, and one member with the numbers of each storage [1]_.

.. [1] https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ldsboard.formats.array_pickles import ArrayPickleError, ArrayUnpickler, StandIn

if TYPE_CHECKING:
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
        return _TensorUnpickler(archive).content()


class _TensorUnpickler(ArrayUnpickler):
    """Reads the pickle of a ``torch.save`` file, with the numbers of its tensors."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith(PICKLE))
        super().__init__(archive.read(pickled))
        self._archive, self._folder = archive, pickled.removesuffix(PICKLE)
        is_big = f"{self._folder}/byteorder" in names and archive.read(f"{self._folder}/byteorder") == b"big"
        self._byte_order: Literal["<", ">"] = ">" if is_big else "<"
        self._storages: dict[str, NDArray[Any]] = {}
        self.names |= {("torch", name): name for name in TYPES} | {
            ("torch._utils", "_rebuild_tensor_v2"): StandIn(_tensor),
            ("torch._utils", "_rebuild_parameter"): StandIn(_parameter),
        }

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """Return the numbers of one storage, one-dimensional; `pid` is ("storage", type, member, device, number of elements)."""
        _, kind, member, *_ = pid
        if member not in self._storages:
            content = self._archive.read(f"{self._folder}/data/{member}")
            values = np.frombuffer(content, np.dtype(TYPES[kind]).newbyteorder(self._byte_order))
            self._storages[member] = (values.astype("<u4") << 16).view("<f4") if kind == BFLOAT16 else values
        return self._storages[member]


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
