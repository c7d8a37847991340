"""The corpus: score files of strangers, and what becomes of each.

``start``: refused from its first 64 KiB, without a row or a file. ``body``: refused while it comes or has just come, which only
compressed bodies can be; an expired submission stays, and counts for nothing. ``content``: accepted, then rejected by the scoring
process. ``scored``: odd, but right; no more of it is used than its header says.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.app.service import npy
from tests.ldsboard.files import STORED, Entry, archive, claiming, deflated, safetensors, saved, tensor, zipped

if TYPE_CHECKING:
    from collections.abc import Callable

n, N = 300, 100
SCORES = np.random.default_rng(1).normal(size=(n, N)).astype(np.float32)
DATA = SCORES.tobytes()
FITTING = f"({n}, {N})"
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """A score file, made when it is needed, the code that it gets, and at which stage."""

    make: Callable[[], bytes]
    code: str
    stage: str = "start"
    encoding: str | None = None
    """The Content-Encoding that it is sent with."""


def ending_in(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    spoiled = SCORES.copy()
    spoiled[-1, -1] = value
    return spoiled


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(value, dtype=object), allow_pickle=True)
    return buffer.getvalue()


class Shell:
    """What a pickle can be made to do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return __import__("os").system, ("touch /tmp/a-pickle-was-opened",)


def of_numpy(**arrays: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub takes keywords for allow_pickle
    return buffer.getvalue()


def going_on(content: bytes) -> bytes:
    """Return deflated bytes after which a stream may go on."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


def zeros(times: int) -> bytes:
    """Return deflated zeros, so many MiB of them, without an end of the stream."""
    return going_on(bytes(MIB)) * times


def bomb(listed: int, header: bytes) -> bytes:
    """Return an archive of 100 KB for every 100 MiB that it inflates to: a header, and 3 GiB of zeros."""
    sizes = {"inflated": listed, "crc": 0}
    return archive(Entry(b"", packed=going_on(header) + zeros(3072) + deflated(b""), header=sizes))


def many_tensors(count: int) -> bytes:
    one = '"%d":{"dtype":"F32","shape":[1],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(one % (i, 4 * i, 4 * i + 4) for i in range(count)) + "}"
    return safetensors(text.encode(), bytes(4 * count))


def overlapping_entries() -> bytes:
    """Return an archive of which every entry is the same bytes."""
    first, again = Entry(npy(SCORES)), Entry(b"", packed=b"", name=b"b.npy")
    same = {"offset": 0, "taken": len(first.body), "inflated": len(first.content), "crc": zlib.crc32(first.content)}
    return archive(first, *[Entry(b"", packed=b"", name=again.name, listed=same)] * 100)


HEADER = claiming(FITTING)
ZIP64 = struct.pack("<2H2Q", 1, 16, 2**45, 2**44)
PLAIN = npy(SCORES)

NPY = {
    "empty": Case(lambda: b"", "scores.empty"),
    "one byte": Case(lambda: b"\x93", "scores.unreadable"),
    "magic alone": Case(lambda: b"\x93NUMPY", "scores.unreadable"),
    "version 9": Case(lambda: claiming(FITTING, data=DATA, version=9), "scores.unreadable"),
    "a header said to have 4 GiB": Case(lambda: b"\x93NUMPY\2\0" + b"\xff" * 4 + bytes(99), "scores.unreadable"),
    "a header of 1 MB": Case(lambda: claiming(FITTING + " " * 10**6, data=DATA, version=2), "scores.unreadable"),
    "a header of 60,000 brackets": Case(lambda: claiming("(" * 60_000, version=2), "scores.unreadable"),
    "a header that is code": Case(lambda: claiming("__import__('os').abort()"), "scores.unreadable"),
    "a header that is a long sum": Case(lambda: claiming("1" + "+1" * 30_000, version=2), "scores.unreadable"),
    "a number of 60,000 digits": Case(lambda: claiming(f"({'9' * 60_000}, 1)", version=2), "scores.unreadable"),
    "2**40 rows": Case(lambda: claiming(f"({2**40}, {N})", data=DATA), "scores.truncated"),
    "2**40 by 2**40": Case(lambda: claiming(f"({2**40}, {2**40})", data=DATA), "scores.truncated"),
    "sides that overflow to the right size": Case(
        lambda: claiming(f"({2**62}, {2**62 + 100})", data=DATA), "scores.truncated"
    ),
    "negative rows": Case(lambda: claiming(f"(-{n}, -{N})", data=DATA), "scores.unreadable"),
    "no rows": Case(lambda: claiming(f"(0, {N})"), "scores.empty"),
    "no columns": Case(lambda: claiming(f"({n}, 0)"), "scores.empty"),
    "no dimensions": Case(lambda: npy(SCORES[0, 0]), "scores.shape"),
    "one dimension": Case(lambda: npy(SCORES.ravel()), "scores.shape"),
    "64 dimensions": Case(lambda: claiming(f"({'1,' * 64})", data=bytes(4), version=2), "scores.shape"),
    "20,000 dimensions": Case(lambda: claiming(f"({'1,' * 20_000})", version=2), "scores.unreadable"),
    "transposed": Case(lambda: npy(SCORES.T), "scores.transposed"),
    "a row less": Case(lambda: npy(SCORES[1:]), "scores.shape"),
    "true as a side": Case(lambda: claiming(f"(True, {N})"), "scores.unreadable"),
    "objects": Case(lambda: pickled([[1.0, None]]), "scores.object"),
    "objects that run commands": Case(lambda: pickled([[Shell()]]), "scores.object"),
    "records": Case(lambda: npy(np.zeros((n, N), [("a", "f4")])), "scores.dtype"),
    "records of objects": Case(lambda: claiming(FITTING, "[('a', '|O')]", data=DATA), "scores.dtype"),
    "integers": Case(lambda: npy(SCORES.astype(np.int32)), "scores.dtype"),
    "complex numbers": Case(lambda: npy(SCORES.astype(np.complex64)), "scores.dtype"),
    "long doubles": Case(lambda: npy(SCORES.astype(np.longdouble)), "scores.dtype"),
    "times": Case(lambda: npy(SCORES.astype("M8[s]")), "scores.dtype"),
    "texts": Case(lambda: npy(SCORES.astype("U9")), "scores.dtype"),
    "a type of 60,000 letters": Case(lambda: claiming(FITTING, f"'{'f' * 60_000}'", version=2), "scores.dtype"),
    "truncated by a byte": Case(lambda: PLAIN[:-1], "scores.truncated"),
    "truncated after its header": Case(lambda: PLAIN[:128], "scores.truncated"),
    "truncated within its header": Case(lambda: PLAIN[:80], "scores.unreadable"),
    "overlong by a byte": Case(lambda: PLAIN + b"\0", "scores.truncated"),
    "overlong by 50 MB": Case(lambda: PLAIN + bytes(50 * 10**6), "scores.truncated"),
    "two files in one": Case(lambda: PLAIN * 2, "scores.truncated"),
    "NaN at the end": Case(lambda: npy(ending_in(np.nan)), "scores.nonfinite", "content"),
    "infinity at the end": Case(lambda: npy(ending_in(np.inf)), "scores.nonfinite", "content"),
    "minus infinity at the end, the other byte order": Case(
        lambda: npy(ending_in(-np.inf).astype(">f8")), "scores.nonfinite", "content"
    ),
    "all NaN, in columns": Case(
        lambda: npy(np.asfortranarray(SCORES * np.float32(np.nan))), "scores.nonfinite", "content"
    ),
}

OTHER_FORMATS = {
    "a pickle": Case(lambda: pickle.dumps(SCORES), "scores.object"),
    "a pickle that runs commands": Case(lambda: pickle.dumps(Shell()), "scores.object"),
    "torch.save": Case(
        lambda: archive(Entry(b"\x80\2}q\0.", name=b"archive/data.pkl", method=STORED, header={"flags": 0x808})),
        "scores.object",
    ),
    "torch.save of old": Case(lambda: b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(99), "scores.object"),
    "HDF5": Case(lambda: b"\x89HDF\r\n\x1a\n" + bytes(500), "scores.unreadable"),
    "CSV": Case(lambda: b"0.1,0.2,0.3\n" * 300, "scores.unreadable"),
    "JSON": Case(lambda: json.dumps(SCORES.tolist()).encode(), "scores.unreadable"),
    "HTML": Case(lambda: b"<!doctype html><script>alert(1)</script>", "scores.unreadable"),
    "a gzip file": Case(lambda: gzip.compress(PLAIN), "scores.unreadable"),
    "a gzip bomb": Case(lambda: gzip.compress(bytes(MIB)) * 3000, "scores.unreadable"),
    "a zstd bomb": Case(lambda: b"\x28\xb5\x2f\xfd\xa4" + b"\0" * 10**6, "scores.unreadable"),
    "an xz file": Case(lambda: lzma.compress(PLAIN), "scores.unreadable"),
    "null bytes": Case(lambda: bytes(10**6), "scores.unreadable"),
}

SAFETENSORS = {
    "1.2 million tensors": Case(lambda: many_tensors(1_200_000), "scores.unreadable"),
    "900 tensors": Case(lambda: many_tensors(900), "scores.several"),
    "overlapping tensors": Case(
        lambda: safetensors({"a": tensor(SCORES), "b": tensor(SCORES)}, DATA), "scores.several"
    ),
    "no tensor": Case(lambda: safetensors({}), "scores.several"),
    "the same name twice": Case(
        lambda: safetensors(b'{"a":1,"a":' + json.dumps(tensor(SCORES)).encode() + b"}", DATA), "scores.unreadable"
    ),
    "a hole": Case(lambda: safetensors({"a": tensor(SCORES, 8)}, bytes(8) + DATA), "scores.unreadable"),
    "offsets beyond the file": Case(
        lambda: saved(SCORES, shape=[2**40, N], data_offsets=[0, 2**40 * N * 4]), "scores.truncated"
    ),
    "offsets backwards": Case(lambda: saved(SCORES, data_offsets=[len(DATA), 0]), "scores.unreadable"),
    "a header said to have 2**63 bytes": Case(lambda: safetensors({}, length=2**63 - 1), "scores.unreadable"),
    "a header longer than the file": Case(lambda: safetensors({}, length=60_000), "scores.unreadable"),
    "a header of 100 MB": Case(lambda: safetensors(b"{" + b" " * 10**8), "scores.unreadable"),
    "60,000 brackets": Case(lambda: safetensors(b'{"a":' + b"[" * 60_000), "scores.unreadable"),
    "a negative side": Case(lambda: saved(SCORES, shape=[-n, -N]), "scores.unreadable"),
    "bfloat16": Case(lambda: saved(SCORES, dtype="BF16", data_offsets=[0, len(DATA) // 2]), "scores.dtype"),
    "8 bits": Case(lambda: saved(SCORES, dtype="F8_E4M3", data_offsets=[0, n * N]), "scores.dtype"),
    "truncated tensors": Case(lambda: saved(SCORES)[:-1], "scores.truncated"),
    "overlong tensors": Case(lambda: saved(SCORES) + b"\0", "scores.truncated"),
    "transposed tensors": Case(lambda: saved(SCORES.T), "scores.transposed"),
    "NaN at the end of tensors": Case(lambda: saved(ending_in(np.nan)), "scores.nonfinite", "content"),
}

NPZ = {
    "an empty archive": Case(archive, "scores.empty"),
    "a bomb by its shape": Case(lambda: bomb(3 * 2**30 + 128, claiming(f"({3 * 2**20}, 256)")), "scores.shape"),
    "a bomb behind a fitting header": Case(lambda: bomb(3 * 2**30 + 128, HEADER), "scores.truncated"),
    "a bomb whose sizes fit": Case(lambda: bomb(len(PLAIN), HEADER), "scores.damaged", "content"),
    "a bomb whose checksum fits": Case(
        lambda: archive(Entry(PLAIN, packed=going_on(PLAIN) + zeros(3072) + deflated(b""))), "", "scored"
    ),
    "2**44 bytes by its sizes": Case(
        lambda: zipped(SCORES, header={"inflated": 2**32 - 1, "taken": 2**32 - 1, "extra": ZIP64}), "scores.truncated"
    ),
    "2**40 rows in an archive": Case(lambda: archive(Entry(claiming(f"({2**40}, {N})"))), "scores.truncated"),
    "an archive in an archive": Case(lambda: archive(Entry(zipped(SCORES))), "scores.unreadable"),
    "objects in an archive": Case(lambda: archive(Entry(pickled([[Shell()]]))), "scores.object"),
    "a name that climbs": Case(lambda: zipped(SCORES, name=b"../../etc/scores.npy"), "scores.unreadable"),
    "an absolute name": Case(lambda: zipped(SCORES, name=b"/etc/scores.npy"), "scores.unreadable"),
    "a name that climbs with the other slash": Case(
        lambda: zipped(SCORES, name=b"..\\..\\scores.npy"), "scores.unreadable"
    ),
    "a name of 64 KB": Case(lambda: zipped(SCORES, name=b"a" * 65_000 + b".npy"), "scores.unreadable"),
    "encrypted": Case(lambda: zipped(SCORES, header={"flags": 1}), "scores.unreadable"),
    "lzma in an archive": Case(lambda: zipped(SCORES, method=14), "scores.unreadable"),
    "a broken stream": Case(lambda: archive(Entry(PLAIN, packed=b"\xff" * 9000)), "scores.damaged"),
    "an archive cut in half": Case(lambda: of_numpy(scores=SCORES)[: len(DATA) // 2], "scores.truncated"),
    "an archive without a directory": Case(
        lambda: archive(Entry(PLAIN), listed=False) + bytes(99), "scores.damaged", "content"
    ),
    "two arrays": Case(lambda: of_numpy(scores=SCORES, more=SCORES), "scores.several", "content"),
    "overlapping entries": Case(overlapping_entries, "scores.several", "content"),
    "a directory of 50,000 entries": Case(
        lambda: archive(Entry(PLAIN), *[Entry(b"", packed=b"", name=b"b.npy")] * 50_000), "scores.damaged", "content"
    ),
    "an entry that overlaps the directory": Case(
        lambda: zipped(SCORES, listed={"taken": len(deflated(PLAIN)) + 20}), "scores.unreadable", "content"
    ),
    "a directory with a name that climbs": Case(
        lambda: zipped(SCORES, listed={"name": b"../scores.npy"}), "scores.damaged", "content"
    ),
    "a directory with another size": Case(
        lambda: zipped(SCORES, listed={"inflated": 3 * 2**30}), "scores.truncated", "content"
    ),
    "something hidden in the archive": Case(lambda: zipped(SCORES, behind=bytes(1000)), "scores.unreadable", "content"),
    "a wrong checksum": Case(lambda: zipped(SCORES, method=STORED, listed={"crc": 7}), "scores.damaged", "content"),
    "NaN at the end of an archive": Case(lambda: zipped(ending_in(np.nan)), "scores.nonfinite", "content"),
}


def zstd(content: bytes, mib_of_zeros: int = 0, window: int = 0x58) -> bytes:
    """Return a frame of zstd, with a window of 2 MiB: this content in raw blocks, then zeros in blocks of one byte."""
    pieces = [content[i : i + 2**17] for i in range(0, len(content), 2**17)]
    blocks = [(len(piece) << 3).to_bytes(3, "little") + piece for piece in pieces]
    blocks += [(2**17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"] * (8 * mib_of_zeros)
    return b"\x28\xb5\x2f\xfd\0" + bytes([window]) + b"".join(blocks) + b"\1\0\0"


LONG = claiming(f"({n}, {N})", "'<f8'")
GZIP = gzip.compress(PLAIN)
ENCODED = {
    "gzip": Case(lambda: GZIP, "", "scored", "gzip"),
    "zstd": Case(lambda: zstd(npy(SCORES + 1)), "", "scored", "zstd"),
    "gzip of zeros, 3 GiB": Case(lambda: gzip.compress(bytes(MIB)) * 3072, "scores.unreadable", encoding="gzip"),
    "zstd of zeros, 100 MiB": Case(lambda: zstd(b"", 100), "scores.unreadable", encoding="zstd"),
    "a header and 3 GiB in gzip": Case(
        lambda: gzip.compress(HEADER) + gzip.compress(bytes(MIB)) * 3072, "upload.too_large", "body", "gzip"
    ),
    "a header and 3 GiB in zstd": Case(lambda: zstd(HEADER, 3072), "upload.too_large", "body", "zstd"),
    "a header and 100 MiB in zstd": Case(lambda: zstd(HEADER, 100), "scores.truncated", "body", "zstd"),
    "less than the header says": Case(lambda: gzip.compress(PLAIN[:-1]), "scores.truncated", "body", "gzip"),
    "gzip cut short": Case(lambda: GZIP[:-20_000], "scores.truncated", "body", "gzip"),
    "gzip in gzip": Case(lambda: gzip.compress(GZIP), "scores.unreadable", encoding="gzip"),
    "gzip in gzip, and said": Case(lambda: gzip.compress(GZIP), "upload.encoding", encoding="gzip, gzip"),
    "no gzip": Case(lambda: PLAIN, "upload.encoding", encoding="gzip"),
    "no zstd": Case(lambda: PLAIN, "upload.encoding", encoding="zstd"),
    "a window of 3 TiB": Case(lambda: zstd(PLAIN, window=0xFF), "upload.encoding", encoding="zstd"),
    "brotli": Case(lambda: PLAIN, "upload.encoding", encoding="br"),
    "an encoding of 10 kB": Case(lambda: PLAIN, "upload.encoding", encoding="x" * 10_000),
}
FILES = NPY | OTHER_FORMATS | SAFETENSORS | NPZ | ENCODED
