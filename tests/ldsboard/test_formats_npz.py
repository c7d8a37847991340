"""Reading .npz files: accepted as numpy accepts them, or rejected by their first bytes, their directory or their content."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.formats import npz
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import DEFLATED, STORED, Entry, deflate, npy_bytes, npy_with_header, npz_bytes, zip_archive

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
CONTENT = npy_bytes(SCORES)
LARGE = np.random.default_rng(0).normal(size=(4000, 7)).astype(np.float32)


class UnseekableStream(io.RawIOBase):
    """An output stream without seek, so that zipfile writes sizes after the data."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self.content += bytes(piece)
        return len(bytes(piece))


def saved_by_numpy(save: Any, **arrays: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def streamed_archive(method: int) -> bytes:
    stream = UnseekableStream()
    with zipfile.ZipFile(stream, "w", method) as writer, writer.open("scores.npy", "w") as file:
        file.write(CONTENT)
    return stream.content


def write_and_open(path: Path, content: bytes) -> np.ndarray[Any, Any]:
    path.write_bytes(content)
    return open_scores(path)


def header_error_code(content: bytes) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(content[:HEADER_LIMIT], len(content))
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


def open_error_code(path: Path, content: bytes) -> str:
    """Return the error code of an archive that is rejected only by its content or its directory."""
    read_header(content[:HEADER_LIMIT], len(content))
    with pytest.raises(ProblemError) as caught:
        write_and_open(path, content)
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_open_scores_reads_numpy_archive(save: Any, order: Any, dtype: str, tmp_path: Path) -> None:
    array = np.array(SCORES, dtype=dtype, order=order)
    read = write_and_open(tmp_path / "scores.npz", saved_by_numpy(save, scores=array))
    assert isinstance(read, np.memmap) == (save is np.savez)
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_open_scores_reads_streamed_archive(method: int, tmp_path: Path) -> None:
    assert np.array_equal(write_and_open(tmp_path / "scores.npz", streamed_archive(method)), SCORES)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_open_scores_reads_archive_with_comment(method: int, tmp_path: Path) -> None:
    content = zip_archive(Entry(CONTENT, method=method), comment=b"made by hand")
    assert np.array_equal(write_and_open(tmp_path / "scores.npz", content), SCORES)


def test_open_scores_reads_archive_larger_than_one_piece(tmp_path: Path) -> None:
    large = np.random.default_rng(0).normal(size=(1000, 100))
    assert np.array_equal(
        write_and_open(tmp_path / "scores.npz", saved_by_numpy(np.savez_compressed, scores=large)), large
    )


def _zip64_fields(size: int, compressed_size: int, kind: int = 1) -> dict[str, Any]:
    extra = struct.pack("<4H2Q", 7, 0, kind, 16, size, compressed_size)
    return {"size": 0xFFFFFFFF, "compressed_size": 0xFFFFFFFF, "extra": extra}


COMPRESSED = deflate(CONTENT)
REJECTED_BY_HEADER = {
    "cut within the first header": (npz_bytes(SCORES)[:29], "scores.unreadable"),
    "cut within the name": (npz_bytes(SCORES)[:35], "scores.unreadable"),
    "a name of 64 KiB": (npz_bytes(SCORES, name=b"a" * 65_531 + b".npy"), "scores.unreadable"),
    "a name of 256 letters": (npz_bytes(SCORES, name=b"a" * 252 + b".npy"), "scores.unreadable"),
    "cut within the file": (npz_bytes(SCORES)[:-400], "scores.truncated"),
    "cut within the stored file": (npz_bytes(SCORES, method=STORED)[:-400], "scores.truncated"),
    "cut within the streamed file": (streamed_archive(STORED)[:-400], "scores.truncated"),
    "no directory": (zip_archive(Entry(CONTENT), listed=False)[:-22], "scores.truncated"),
    "an absolute name": (npz_bytes(SCORES, name=b"/etc/scores.npy"), "scores.unreadable"),
    "a name that climbs": (npz_bytes(SCORES, name=b"../scores.npy"), "scores.unreadable"),
    "a name that climbs elsewhere": (npz_bytes(SCORES, name=b"..\\scores.npy"), "scores.unreadable"),
    "a drive": (npz_bytes(SCORES, name=b"C:scores.npy"), "scores.unreadable"),
    "a name with a null byte": (npz_bytes(SCORES, name=b"a\0.npy"), "scores.unreadable"),
    "a name that turns around": (npz_bytes(SCORES, name="\u202escores.npy".encode()), "scores.unreadable"),
    "a folder": (zip_archive(Entry(b"", name=b"scores.npy/")), "scores.unreadable"),
    "another file": (zip_archive(Entry(b"0.1,0.2", name=b"scores.csv")), "scores.unreadable"),
    "no .npy file": (zip_archive(Entry(b"0.1,0.2")), "scores.unreadable"),
    "nothing in the file": (zip_archive(Entry(b"")), "scores.unreadable"),
    "an archive in the archive": (zip_archive(Entry(npz_bytes(SCORES))), "scores.unreadable"),
    "pickles": (zip_archive(Entry(b"\x80\x02.", name=b"scores/data.pkl")), "scores.object"),
    "objects": (zip_archive(Entry(npy_bytes(np.array([[None]])))), "scores.object"),
    "integers": (npz_bytes(SCORES.astype(int)), "scores.dtype"),
    "one dimension": (npz_bytes(SCORES.ravel()), "scores.shape"),
    "no rows": (npz_bytes(SCORES[:0]), "scores.empty"),
    "encrypted": (npz_bytes(SCORES, header={"flags": 1}), "scores.unreadable"),
    "strongly encrypted": (npz_bytes(SCORES, header={"flags": 0x40}), "scores.unreadable"),
    "bzip2": (npz_bytes(SCORES, method=12), "scores.unreadable"),
    "an unknown method": (npz_bytes(SCORES, method=99), "scores.unreadable"),
    "no deflated bytes": (zip_archive(Entry(CONTENT, compressed=b"\xff" * 900)), "scores.damaged"),
    "2**40 rows": (zip_archive(Entry(npy_with_header(f"({2**40}, 7)"))), "scores.truncated"),
    "2**40 rows, and sizes that agree": (
        zip_archive(Entry(npy_with_header(f"({2**40}, 7)"), header=_zip64_fields(2**40 * 28 + 128, 200))),
        "scores.truncated",
    ),
    "2**40 rows, streamed": (
        zip_archive(Entry(npy_with_header(f"({2**40}, 7)"), header={"flags": 8})),
        "scores.truncated",
    ),
    "another inflated size": (npz_bytes(SCORES, header={"size": 7}), "scores.truncated"),
    "sizes that differ though stored": (
        npz_bytes(SCORES, method=STORED, header={"compressed_size": 7}),
        "scores.truncated",
    ),
    "sizes elsewhere, and nowhere": (npz_bytes(SCORES, header=_zip64_fields(1, 1, kind=2)), "scores.unreadable"),
}


@pytest.mark.parametrize("case", REJECTED_BY_HEADER)
def test_read_header_rejects_malformed_archive(case: str) -> None:
    content, code = REJECTED_BY_HEADER[case]
    assert header_error_code(content) == code


REJECTED_ON_OPENING = {
    "no directory": (zip_archive(Entry(CONTENT), listed=False) + bytes(99), "scores.damaged"),
    "a directory that is none": (npz_bytes(SCORES).replace(b"PK\x01\x02", b"PK\x01\x03"), "scores.damaged"),
    "a directory of nothing": (
        npz_bytes(SCORES)[:-22] + npz_bytes(SCORES)[-22:-12] + bytes(4) + bytes(8),
        "scores.several",
    ),
    "two files": (zip_archive(Entry(CONTENT), Entry(CONTENT, name=b"b.npy")), "scores.several"),
    "two entries for one file": (
        zip_archive(Entry(CONTENT), Entry(b"", compressed=b"", listed={"offset": 0})),
        "scores.several",
    ),
    "1,400 entries": (zip_archive(*[Entry(CONTENT)] * 1400), "scores.several"),
    "a directory over any measure": (zip_archive(*[Entry(CONTENT, compressed=COMPRESSED)] * 4000), "scores.damaged"),
    "a file that overlaps the directory": (
        npz_bytes(SCORES, listed={"compressed_size": len(COMPRESSED) + 9}),
        "scores.unreadable",
    ),
    "something hidden behind the file": (npz_bytes(SCORES, behind=bytes(25)), "scores.unreadable"),
    "a file that begins elsewhere": (npz_bytes(SCORES, listed={"offset": 9}), "scores.unreadable"),
    "another size": (npz_bytes(SCORES, listed={"size": len(CONTENT) + 1}), "scores.truncated"),
    "another method": (npz_bytes(SCORES, listed={"method": STORED}), "scores.unreadable"),
    "another method, unknown": (npz_bytes(SCORES, listed={"method": 99}), "scores.unreadable"),
    "another name": (npz_bytes(SCORES, listed={"name": b"scores.pkl"}), "scores.damaged"),
    "a name that is no text": (npz_bytes(SCORES, listed={"name": b"\xff", "flags": 0x800}), "scores.unreadable"),
    "encrypted": (npz_bytes(SCORES, listed={"flags": 1}), "scores.unreadable"),
    "patched": (npz_bytes(SCORES, listed={"flags": 0x20}), "scores.unreadable"),
    "a wrong checksum": (npz_bytes(SCORES, listed={"crc": 1}), "scores.damaged"),
    "a wrong checksum though stored": (npz_bytes(SCORES, method=STORED, listed={"crc": 1}), "scores.damaged"),
    "a stream that ends early": (
        zip_archive(Entry(CONTENT, compressed=deflate(CONTENT[:-100]), listed={"crc": zlib.crc32(CONTENT[:-100])})),
        "scores.damaged",
    ),
    "a stream that goes on": (zip_archive(Entry(CONTENT, compressed=deflate(CONTENT + bytes(10**7)))), None),
    "a stream that breaks": (
        npz_bytes(LARGE, compressed=deflate(npy_bytes(LARGE))[:90_000] + b"\xff" * 20_000),
        "scores.damaged",
    ),
}


@pytest.mark.parametrize("case", REJECTED_ON_OPENING)
def test_open_scores_rejects_wrong_directory_or_content(case: str, tmp_path: Path) -> None:
    content, code = REJECTED_ON_OPENING[case]
    if code is None:  # the reader inflates only as many bytes as the header states
        assert np.array_equal(write_and_open(tmp_path / "scores.npz", content), SCORES)
    else:
        assert open_error_code(tmp_path / "scores.npz", content) == code


def test_open_scores_reads_sizes_from_zip64_field(tmp_path: Path) -> None:
    content = npz_bytes(
        SCORES,
        header=_zip64_fields(len(CONTENT), len(COMPRESSED)),
        listed={"size": len(CONTENT), "compressed_size": len(COMPRESSED), "extra": b""},
    )
    assert np.array_equal(write_and_open(tmp_path / "scores.npz", content), SCORES)


def test_directory_reads_are_limited_to_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(10**6))
    with path.open("rb") as file:
        bounded = npz._BoundedFile(file.fileno(), closefd=False)
        assert len(bounded.read()) == len(bounded.read(10**6)) == npz.CHUNK_BYTES


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_largest_file_size_bounds_the_size_of_an_archive_and_little_more(method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        archive.writestr("scores.npy", npy_bytes(LARGE))
    content = buffer.getvalue()
    largest = read_header(content[:HEADER_LIMIT], None).largest_file_size
    assert len(content) <= largest <= len(npy_bytes(LARGE)) * 1.01 + 2 * HEADER_LIMIT


def test_largest_file_size_of_an_npy_file_is_its_size() -> None:
    assert read_header(CONTENT, None).largest_file_size == len(CONTENT)
