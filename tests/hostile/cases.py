"""The corpus of hostile score files, with the expected error code and stage of each.

Stages:

- ``start``: rejected from the first 64 KiB, without a database row or a file.
- ``body``: rejected during or directly after the transfer, which happens only to compressed bodies; the submission expires and
  does not count.
- ``content``: accepted, then rejected by the scoring process.
- ``scored``: unusual but valid; the scoring process uses only as many bytes as the header states.
"""

from __future__ import annotations

import gzip
import json
import lzma
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.app.service import npy
from tests.hostile.payloads import (
    DATA,
    HEADER,
    MIB,
    PLAIN,
    SCORES,
    VALID_SHAPE,
    CommandPickle,
    N,
    bomb,
    deflate_without_end,
    deflated_zeros,
    many_tensors,
    n,
    overlapping_entries,
    pickled,
    saved_by_savez,
    with_last_value,
    zstd,
)
from tests.ldsboard.files import (
    STORED,
    Entry,
    deflate,
    npy_with_header,
    npz_bytes,
    safetensors_bytes,
    safetensors_with_header,
    tensor_entry,
    zip_archive,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ZIP64 = struct.pack("<2H2Q", 1, 16, 2**45, 2**44)


@dataclass(frozen=True)
class Case:
    """A function that makes a score file, the expected error code, and the stage at which the file is rejected."""

    make: Callable[[], bytes]
    code: str
    stage: str = "start"
    encoding: str | None = None
    """The Content-Encoding of the request."""


NPY = {
    "empty": Case(lambda: b"", "scores.empty"),
    "one byte": Case(lambda: b"\x93", "scores.unreadable"),
    "magic alone": Case(lambda: b"\x93NUMPY", "scores.unreadable"),
    "version 9": Case(lambda: npy_with_header(VALID_SHAPE, data=DATA, version=9), "scores.unreadable"),
    "a header said to have 4 GiB": Case(lambda: b"\x93NUMPY\2\0" + b"\xff" * 4 + bytes(99), "scores.unreadable"),
    "a header of 1 MB": Case(
        lambda: npy_with_header(VALID_SHAPE + " " * 10**6, data=DATA, version=2), "scores.unreadable"
    ),
    "a header of 60,000 brackets": Case(lambda: npy_with_header("(" * 60_000, version=2), "scores.unreadable"),
    "a header that is code": Case(lambda: npy_with_header("__import__('os').abort()"), "scores.unreadable"),
    "a header that is a long sum": Case(lambda: npy_with_header("1" + "+1" * 30_000, version=2), "scores.unreadable"),
    "a number of 60,000 digits": Case(lambda: npy_with_header(f"({'9' * 60_000}, 1)", version=2), "scores.unreadable"),
    "2**40 rows": Case(lambda: npy_with_header(f"({2**40}, {N})", data=DATA), "scores.truncated"),
    "2**40 by 2**40": Case(lambda: npy_with_header(f"({2**40}, {2**40})", data=DATA), "scores.truncated"),
    "sides that overflow to the right size": Case(
        lambda: npy_with_header(f"({2**62}, {2**62 + 100})", data=DATA), "scores.truncated"
    ),
    "negative rows": Case(lambda: npy_with_header(f"(-{n}, -{N})", data=DATA), "scores.unreadable"),
    "no rows": Case(lambda: npy_with_header(f"(0, {N})"), "scores.empty"),
    "no columns": Case(lambda: npy_with_header(f"({n}, 0)"), "scores.empty"),
    "no dimensions": Case(lambda: npy(SCORES[0, 0]), "scores.shape"),
    "one dimension": Case(lambda: npy(SCORES.ravel()), "scores.shape"),
    "64 dimensions": Case(lambda: npy_with_header(f"({'1,' * 64})", data=bytes(4), version=2), "scores.shape"),
    "20,000 dimensions": Case(lambda: npy_with_header(f"({'1,' * 20_000})", version=2), "scores.unreadable"),
    "transposed and a row less": Case(lambda: npy(SCORES.T[1:]), "scores.shape"),
    "a row less": Case(lambda: npy(SCORES[1:]), "scores.shape"),
    "true as a side": Case(lambda: npy_with_header(f"(True, {N})"), "scores.unreadable"),
    "objects": Case(lambda: pickled([[1.0, None]]), "scores.object"),
    "objects that run commands": Case(lambda: pickled([[CommandPickle()]]), "scores.object"),
    "records": Case(lambda: npy(np.zeros((n, N), [("a", "f4")])), "scores.dtype"),
    "records of objects": Case(lambda: npy_with_header(VALID_SHAPE, "[('a', '|O')]", data=DATA), "scores.dtype"),
    "integers": Case(lambda: npy(SCORES.astype(np.int32)), "scores.dtype"),
    "complex numbers": Case(lambda: npy(SCORES.astype(np.complex64)), "scores.dtype"),
    "long doubles": Case(lambda: npy(SCORES.astype(np.longdouble)), "scores.dtype"),
    "times": Case(lambda: npy(SCORES.astype("M8[s]")), "scores.dtype"),
    "texts": Case(lambda: npy(SCORES.astype("U9")), "scores.dtype"),
    "a type of 60,000 letters": Case(
        lambda: npy_with_header(VALID_SHAPE, f"'{'f' * 60_000}'", version=2), "scores.dtype"
    ),
    "truncated by a byte": Case(lambda: PLAIN[:-1], "scores.truncated"),
    "truncated after its header": Case(lambda: PLAIN[:128], "scores.truncated"),
    "truncated within its header": Case(lambda: PLAIN[:80], "scores.unreadable"),
    "overlong by a byte": Case(lambda: PLAIN + b"\0", "scores.truncated"),
    "overlong by 50 MB": Case(lambda: PLAIN + bytes(50 * 10**6), "scores.truncated"),
    "two files in one": Case(lambda: PLAIN * 2, "scores.truncated"),
    "NaN at the end": Case(lambda: npy(with_last_value(np.nan)), "scores.nonfinite", "content"),
    "infinity at the end": Case(lambda: npy(with_last_value(np.inf)), "scores.nonfinite", "content"),
    "minus infinity at the end, the other byte order": Case(
        lambda: npy(with_last_value(-np.inf).astype(">f8")), "scores.nonfinite", "content"
    ),
    "all NaN, in columns": Case(
        lambda: npy(np.asfortranarray(SCORES * np.float32(np.nan))), "scores.nonfinite", "content"
    ),
}

OTHER_FORMATS = {
    "a pickle": Case(lambda: pickle.dumps(SCORES), "scores.object"),
    "a pickle that runs commands": Case(lambda: pickle.dumps(CommandPickle()), "scores.object"),
    "torch.save": Case(
        lambda: zip_archive(Entry(b"\x80\2}q\0.", name=b"archive/data.pkl", method=STORED, header={"flags": 0x808})),
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
        lambda: safetensors_with_header({"a": tensor_entry(SCORES), "b": tensor_entry(SCORES)}, DATA), "scores.several"
    ),
    "no tensor": Case(lambda: safetensors_with_header({}), "scores.several"),
    "the same name twice": Case(
        lambda: safetensors_with_header(b'{"a":1,"a":' + json.dumps(tensor_entry(SCORES)).encode() + b"}", DATA),
        "scores.unreadable",
    ),
    "a hole": Case(
        lambda: safetensors_with_header({"a": tensor_entry(SCORES, 8)}, bytes(8) + DATA), "scores.unreadable"
    ),
    "offsets beyond the file": Case(
        lambda: safetensors_bytes(SCORES, shape=[2**40, N], data_offsets=[0, 2**40 * N * 4]), "scores.truncated"
    ),
    "offsets backwards": Case(lambda: safetensors_bytes(SCORES, data_offsets=[len(DATA), 0]), "scores.unreadable"),
    "a header said to have 2**63 bytes": Case(
        lambda: safetensors_with_header({}, length=2**63 - 1), "scores.unreadable"
    ),
    "a header longer than the file": Case(lambda: safetensors_with_header({}, length=60_000), "scores.unreadable"),
    "a header of 100 MB": Case(lambda: safetensors_with_header(b"{" + b" " * 10**8), "scores.unreadable"),
    "60,000 brackets": Case(lambda: safetensors_with_header(b'{"a":' + b"[" * 60_000), "scores.unreadable"),
    "a negative side": Case(lambda: safetensors_bytes(SCORES, shape=[-n, -N]), "scores.unreadable"),
    "bfloat16": Case(lambda: safetensors_bytes(SCORES, dtype="BF16", data_offsets=[0, len(DATA) // 2]), "scores.dtype"),
    "8 bits": Case(lambda: safetensors_bytes(SCORES, dtype="F8_E4M3", data_offsets=[0, n * N]), "scores.dtype"),
    "truncated tensors": Case(lambda: safetensors_bytes(SCORES)[:-1], "scores.truncated"),
    "overlong tensors": Case(lambda: safetensors_bytes(SCORES) + b"\0", "scores.truncated"),
    "transposed tensors and a row less": Case(lambda: safetensors_bytes(SCORES.T[1:]), "scores.shape"),
    "NaN at the end of tensors": Case(
        lambda: safetensors_bytes(with_last_value(np.nan)), "scores.nonfinite", "content"
    ),
}

NPZ = {
    "an empty archive": Case(zip_archive, "scores.empty"),
    "a bomb by its shape": Case(lambda: bomb(3 * 2**30 + 128, npy_with_header(f"({3 * 2**20}, 256)")), "scores.shape"),
    "a bomb behind a fitting header": Case(lambda: bomb(3 * 2**30 + 128, HEADER), "scores.truncated"),
    "a bomb whose sizes fit": Case(lambda: bomb(len(PLAIN), HEADER), "scores.damaged", "content"),
    "a bomb whose checksum fits": Case(
        lambda: zip_archive(Entry(PLAIN, compressed=deflate_without_end(PLAIN) + deflated_zeros(3072) + deflate(b""))),
        "",
        "scored",
    ),
    "2**44 bytes by its sizes": Case(
        lambda: npz_bytes(SCORES, header={"size": 2**32 - 1, "compressed_size": 2**32 - 1, "extra": ZIP64}),
        "scores.truncated",
    ),
    "2**40 rows in an archive": Case(
        lambda: zip_archive(Entry(npy_with_header(f"({2**40}, {N})"))), "scores.truncated"
    ),
    "an archive in an archive": Case(lambda: zip_archive(Entry(npz_bytes(SCORES))), "scores.unreadable"),
    "objects in an archive": Case(lambda: zip_archive(Entry(pickled([[CommandPickle()]]))), "scores.object"),
    "a name that climbs": Case(lambda: npz_bytes(SCORES, name=b"../../etc/scores.npy"), "scores.unreadable"),
    "an absolute name": Case(lambda: npz_bytes(SCORES, name=b"/etc/scores.npy"), "scores.unreadable"),
    "a name that climbs with the other slash": Case(
        lambda: npz_bytes(SCORES, name=b"..\\..\\scores.npy"), "scores.unreadable"
    ),
    "a name of 64 KB": Case(lambda: npz_bytes(SCORES, name=b"a" * 65_000 + b".npy"), "scores.unreadable"),
    "encrypted": Case(lambda: npz_bytes(SCORES, header={"flags": 1}), "scores.unreadable"),
    "lzma in an archive": Case(lambda: npz_bytes(SCORES, method=14), "scores.unreadable"),
    "a broken stream": Case(lambda: zip_archive(Entry(PLAIN, compressed=b"\xff" * 9000)), "scores.damaged"),
    "an archive cut in half": Case(lambda: saved_by_savez(scores=SCORES)[: len(DATA) // 2], "scores.truncated"),
    "an archive without a directory": Case(
        lambda: zip_archive(Entry(PLAIN), listed=False) + bytes(99), "scores.damaged", "content"
    ),
    "two arrays": Case(lambda: saved_by_savez(scores=SCORES, more=SCORES), "scores.several", "content"),
    "overlapping entries": Case(overlapping_entries, "scores.several", "content"),
    "a directory of 50,000 entries": Case(
        lambda: zip_archive(Entry(PLAIN), *[Entry(b"", compressed=b"", name=b"b.npy")] * 50_000),
        "scores.damaged",
        "content",
    ),
    "an entry that overlaps the directory": Case(
        lambda: npz_bytes(SCORES, listed={"compressed_size": len(deflate(PLAIN)) + 20}), "scores.unreadable", "content"
    ),
    "a directory with a name that climbs": Case(
        lambda: npz_bytes(SCORES, listed={"name": b"../scores.npy"}), "scores.damaged", "content"
    ),
    "a directory with another size": Case(
        lambda: npz_bytes(SCORES, listed={"size": 3 * 2**30}), "scores.truncated", "content"
    ),
    "something hidden in the archive": Case(
        lambda: npz_bytes(SCORES, behind=bytes(1000)), "scores.unreadable", "content"
    ),
    "a wrong checksum": Case(lambda: npz_bytes(SCORES, method=STORED, listed={"crc": 7}), "scores.damaged", "content"),
    "NaN at the end of an archive": Case(lambda: npz_bytes(with_last_value(np.nan)), "scores.nonfinite", "content"),
}


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
    "a header and 100 MiB in zstd": Case(lambda: zstd(HEADER, 100), "upload.too_large", "body", "zstd"),
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
