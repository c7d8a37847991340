"""The contents of a response: its text and bytes, decompressed, and the files and arrays inside archives, at any depth."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PNG_HEADER, PNG_CHUNK = b"\x89PNG\r\n\x1a\n", 12


class Content(NamedTuple):
    """One piece of a response: the bytes, and the array that the bytes hold if they are an ``.npy`` file."""

    place: str
    data: bytes
    array: NDArray[np.generic] | None = None

    @property
    def text(self) -> str:
        """The bytes as text; bytes that are no text are replaced."""
        return self.data.decode(errors="replace")


def contents(place: str, data: bytes) -> Iterator[Content]:
    """Yield the bytes themselves, and everything that is compressed or archived in the bytes; `place` says where they are."""
    if data.startswith(b"\x93NUMPY"):
        yield Content(place, data, np.load(io.BytesIO(data), allow_pickle=False))
        return
    yield Content(place, data)
    for name, inner in _inner(data):
        yield from contents(f"{place} > {name}", inner)


def _inner(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file that is compressed or archived in `data`."""
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield "comment", archive.comment
            for entry in archive.infolist():
                yield f"comment of {entry.filename}", entry.comment + entry.extra
                yield entry.filename, archive.read(entry)
    elif data.startswith(b"\x1f\x8b"):
        yield "gzip", gzip.decompress(data)
    elif data.startswith(b"\x28\xb5\x2f\xfd"):
        yield "zstd", zstandard.ZstdDecompressor().decompressobj().decompress(data)
    elif data.startswith(PNG_HEADER):
        yield "pixels", zlib.decompress(b"".join(_pixel_chunks(data)))


def _pixel_chunks(image: bytes) -> Iterator[bytes]:
    """Yield the compressed data of a PNG image."""
    start = len(PNG_HEADER)
    while start < len(image):
        size, kind = int.from_bytes(image[start : start + 4], "big"), image[start + 4 : start + 8]
        if kind == b"IDAT":
            yield image[start + 8 : start + 8 + size]
        start += PNG_CHUNK + size
