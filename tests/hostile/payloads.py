"""Build the unusual and malformed contents that the corpus of hostile score files needs."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np

from tests.app.service import npy
from tests.ldsboard.files import Entry, deflate, npy_with_header, safetensors_with_header, zip_archive

n, N = 300, 100
SCORES = np.random.default_rng(1).normal(size=(n, N)).astype(np.float32)
DATA = SCORES.tobytes()
VALID_SHAPE = f"({n}, {N})"
MIB = 2**20
HEADER = npy_with_header(VALID_SHAPE)
PLAIN = npy(SCORES)


def with_last_value(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    changed = SCORES.copy()
    changed[-1, -1] = value
    return changed


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(value, dtype=object), allow_pickle=True)
    return buffer.getvalue()


class CommandPickle:
    """An object whose unpickling runs a shell command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return __import__("os").system, ("touch /tmp/a-pickle-was-opened",)


def saved_by_savez(**arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
    return buffer.getvalue()


def deflate_without_end(content: bytes) -> bytes:
    """Return deflated bytes without an end marker, so that the stream can be continued."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated_zeros(times: int) -> bytes:
    """Return `times` MiB of deflated zeros, without an end marker."""
    return deflate_without_end(bytes(MIB)) * times


def bomb(stated_size: int, header: bytes) -> bytes:
    """Return an archive that inflates to a header and 3 GiB of zeros: 100 KB for every 100 MiB."""
    sizes = {"size": stated_size, "crc": 0}
    return zip_archive(
        Entry(b"", compressed=deflate_without_end(header) + deflated_zeros(3072) + deflate(b""), header=sizes)
    )


def many_tensors(count: int) -> bytes:
    one = '"%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(one % (i, 4 * i, 4 * i + 4) for i in range(count)) + "}"
    return safetensors_with_header(text.encode(), bytes(4 * count))


def overlapping_entries() -> bytes:
    """Return an archive whose entries all refer to the same bytes."""
    first, again = Entry(npy(SCORES)), Entry(b"", compressed=b"", name=b"b.npy")
    same = {
        "offset": 0,
        "compressed_size": len(first.body),
        "size": len(first.content),
        "crc": zlib.crc32(first.content),
    }
    return zip_archive(first, *[Entry(b"", compressed=b"", name=again.name, listed=same)] * 100)


def zstd(content: bytes, mib_of_zeros: int = 0, window: int = 0x58) -> bytes:
    """Return a zstd frame with a window of 2 MiB: the content in raw blocks, then zeros in run-length blocks."""
    pieces = [content[i : i + 2**17] for i in range(0, len(content), 2**17)]
    blocks = [(len(piece) << 3).to_bytes(3, "little") + piece for piece in pieces]
    blocks += [(2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"] * (8 * mib_of_zeros)
    return b"\x28\xb5\x2f\xfd\0" + bytes([window]) + b"".join(blocks) + b"\1\0\0"
