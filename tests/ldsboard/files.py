"""Score files as they should be, and as nobody should write them: every field of every header can be a lie."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STORED, DEFLATED = 0, 8


def written(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    """Return an array as a .npy file of numpy's, of this version if any."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def claiming(shape: str, descr: str = "'<f4'", *, data: bytes = b"", version: int = 1, order: str = "False") -> bytes:
    """Return a .npy file whose header says this, whatever comes behind it."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + data


def safetensors(header: dict[str, Any] | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a safetensors file with this header, said to be of this `length`, and these bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(array: np.ndarray[Any, Any], begin: int = 0, **lies: Any) -> dict[str, Any]:
    """Return how a safetensors header describes an array."""
    dtype = {2: "F16", 4: "F32", 8: "F64"}[array.dtype.itemsize]
    return {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]} | lies


def saved(array: np.ndarray[Any, Any], **lies: Any) -> bytes:
    """Return an array as a safetensors file."""
    return safetensors({"scores": tensor(array, **lies)}, array.tobytes())


@dataclass(frozen=True)
class Entry:
    """A file in an archive, and what is said of it: in its own header, and otherwise in the directory."""

    content: bytes
    name: bytes = b"scores.npy"
    method: int = DEFLATED
    packed: bytes | None = None
    header: dict[str, Any] = field(default_factory=dict)
    listed: dict[str, Any] = field(default_factory=dict)
    behind: bytes = b""

    @property
    def body(self) -> bytes:
        """The bytes that stand in the archive."""
        if self.packed is not None:
            return self.packed
        return deflated(self.content) if self.method == DEFLATED else self.content

    def said(self, offset: int, lies: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a header."""
        true = {
            "flags": 0,
            "method": self.method,
            "crc": zlib.crc32(self.content),
            "taken": len(self.body),
            "inflated": len(self.content),
            "name": self.name,
            "extra": b"",
            "offset": offset,
        }
        return true | lies


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def archive(*entries: Entry, comment: bytes = b"", count: int | None = None, listed: bool = True) -> bytes:
    """Return a zip archive of these files."""
    files, directory = bytearray(), bytearray()
    for entry in entries:
        said = entry.said(len(files), entry.header | entry.listed)
        directory += struct.pack(
            "<4s6H3L5H2L",
            *(
                b"PK\x01\x02",
                20,
                20,
                said["flags"],
                said["method"],
                0,
                33,
                said["crc"],
                said["taken"],
                said["inflated"],
            ),
            *(len(said["name"]), len(said["extra"]), 0, 0, 0, 0, said["offset"]),
        )
        directory += said["name"] + said["extra"]
        said = entry.said(len(files), entry.header)
        sizes = (said["crc"], said["taken"], said["inflated"], len(said["name"]), len(said["extra"]))
        files += struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, said["flags"], said["method"], 0, 33, *sizes)
        files += said["name"] + said["extra"] + entry.body + entry.behind
    number = len(entries) if count is None else count
    end = (b"PK\x05\x06", 0, 0, number, number, len(directory), len(files), len(comment))
    return bytes(files) + bytes(directory if listed else b"") + struct.pack("<4s4H2LH", *end) + comment


def zipped(array: np.ndarray[Any, Any], **said: Any) -> bytes:
    """Return an array as the one file of an archive."""
    return archive(Entry(written(array), **said))
