"""Build valid and malformed score files: every field of every header can be set to a wrong value."""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STORED, DEFLATED = 0, 8


def npy_bytes(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    """Return an array as a .npy file written by numpy, in the given format version if any."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


def npy_with_header(
    shape: str, descr: str = "'<f4'", *, data: bytes = b"", version: int = 1, order: str = "False"
) -> bytes:
    """Return a .npy file with the given header fields and data, which need not agree."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".ljust(117) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + data


def safetensors_with_header(header: dict[str, Any] | bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Return a safetensors file with the given header and data; `length` overrides the stated header length."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor_entry(array: np.ndarray[Any, Any], begin: int = 0, **overrides: Any) -> dict[str, Any]:
    """Return an array's entry in a safetensors header; `overrides` replace fields of the entry."""
    dtype = {2: "F16", 4: "F32", 8: "F64"}[array.dtype.itemsize]
    return {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]} | overrides


def safetensors_bytes(array: np.ndarray[Any, Any], **overrides: Any) -> bytes:
    """Return an array as a safetensors file; `overrides` replace fields of the array's header entry."""
    return safetensors_with_header({"scores": tensor_entry(array, **overrides)}, array.tobytes())


@dataclass(frozen=True)
class Entry:
    """A file in a zip archive.

    Attributes
    ----------
    content
        The uncompressed bytes.
    name, method
        File name, and the number of the compression method.
    compressed
        Bytes to store instead of the compressed content.
    header
        Fields that replace the true ones in the local header and in the directory.
    listed
        Fields that replace the true ones in the directory only.
    behind
        Bytes to insert after the file.
    """

    content: bytes
    name: bytes = b"scores.npy"
    method: int = DEFLATED
    compressed: bytes | None = None
    header: dict[str, Any] = field(default_factory=dict)
    listed: dict[str, Any] = field(default_factory=dict)
    behind: bytes = b""

    @property
    def body(self) -> bytes:
        """The bytes stored in the archive."""
        if self.compressed is not None:
            return self.compressed
        return deflate(self.content) if self.method == DEFLATED else self.content

    def fields(self, offset: int, overrides: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a local header or of a directory entry."""
        true = {
            "flags": 0,
            "method": self.method,
            "crc": zlib.crc32(self.content),
            "compressed_size": len(self.body),
            "size": len(self.content),
            "name": self.name,
            "extra": b"",
            "offset": offset,
        }
        return true | overrides


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def zip_archive(*entries: Entry, comment: bytes = b"", count: int | None = None, listed: bool = True) -> bytes:
    """Return a zip archive; `count` overrides the number of entries, `listed=False` leaves out the directory."""
    files, directory = bytearray(), bytearray()
    for entry in entries:
        fields = entry.fields(len(files), entry.header | entry.listed)
        directory += struct.pack(
            "<4s6H3L5H2L",
            *(
                b"PK\x01\x02",
                20,
                20,
                fields["flags"],
                fields["method"],
                0,
                33,
                fields["crc"],
                fields["compressed_size"],
                fields["size"],
            ),
            *(len(fields["name"]), len(fields["extra"]), 0, 0, 0, 0, fields["offset"]),
        )
        directory += fields["name"] + fields["extra"]
        fields = entry.fields(len(files), entry.header)
        sizes = (fields["crc"], fields["compressed_size"], fields["size"], len(fields["name"]), len(fields["extra"]))
        files += struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, fields["flags"], fields["method"], 0, 33, *sizes)
        files += fields["name"] + fields["extra"] + entry.body + entry.behind
    number = len(entries) if count is None else count
    end = (b"PK\x05\x06", 0, 0, number, number, len(directory), len(files), len(comment))
    return bytes(files) + bytes(directory if listed else b"") + struct.pack("<4s4H2LH", *end) + comment


def npz_bytes(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    """Return an array as the only file of an archive; `options` are those of `Entry`."""
    return zip_archive(Entry(npy_bytes(array), **options))
