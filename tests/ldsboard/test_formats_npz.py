"""Archives: opened as numpy does, or refused, by what they begin with or else by their directory."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError, npz
from ldsboard.formats import HEADER_LIMIT, open_scores, read_header
from tests.ldsboard.files import DEFLATED, STORED, Entry, archive, claiming, deflated, written, zipped

if TYPE_CHECKING:
    from pathlib import Path

SCORES = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
CONTENT = written(SCORES)
LARGE = np.random.default_rng(0).normal(size=(4000, 7)).astype(np.float32)


class Stream(io.RawIOBase):
    """A file that cannot go back, so that sizes follow what they are of."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self.content += bytes(piece)
        return len(bytes(piece))


def numpys(save: Any, **arrays: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def streamed(method: int) -> bytes:
    stream = Stream()
    with zipfile.ZipFile(stream, "w", method) as packed, packed.open("scores.npy", "w") as file:
        file.write(CONTENT)
    return stream.content


def opened(path: Path, content: bytes) -> np.ndarray[Any, Any]:
    path.write_bytes(content)
    return open_scores(path)


def code_of_start(content: bytes) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(content[:HEADER_LIMIT], len(content))
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


def code_of_whole(path: Path, content: bytes) -> str:
    """Return the code of an archive that only its content or directory gives away."""
    read_header(content[:HEADER_LIMIT], len(content))
    with pytest.raises(ProblemError) as caught:
        opened(path, content)
    assert len(str(caught.value)) < 500
    return caught.value.problem.code


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_archives_of_numpy_are_opened(save: Any, order: Any, dtype: str, tmp_path: Path) -> None:
    array = np.array(SCORES, dtype=dtype, order=order)
    read = opened(tmp_path / "scores.npz", numpys(save, scores=array))
    assert isinstance(read, np.memmap) == (save is np.savez)
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_archives_that_were_streamed_are_opened(method: int, tmp_path: Path) -> None:
    assert np.array_equal(opened(tmp_path / "scores.npz", streamed(method)), SCORES)


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_an_archive_may_carry_a_comment(method: int, tmp_path: Path) -> None:
    content = archive(Entry(CONTENT, method=method), comment=b"made by hand")
    assert np.array_equal(opened(tmp_path / "scores.npz", content), SCORES)


def test_an_archive_larger_than_what_is_read_at_a_time_is_opened(tmp_path: Path) -> None:
    large = np.random.default_rng(0).normal(size=(1000, 100))
    assert np.array_equal(opened(tmp_path / "scores.npz", numpys(np.savez_compressed, scores=large)), large)


def _zip64(inflated: int, taken: int, kind: int = 1) -> dict[str, Any]:
    extra = struct.pack("<4H2Q", 7, 0, kind, 16, inflated, taken)
    return {"inflated": 0xFFFFFFFF, "taken": 0xFFFFFFFF, "extra": extra}


HEADER = deflated(CONTENT)
AT_THE_START = {
    "cut within the first header": (zipped(SCORES)[:29], "scores.unreadable"),
    "cut within the name": (zipped(SCORES)[:35], "scores.unreadable"),
    "a name of 64 KiB": (zipped(SCORES, name=b"a" * 65_531 + b".npy"), "scores.unreadable"),
    "a name of 256 letters": (zipped(SCORES, name=b"a" * 252 + b".npy"), "scores.unreadable"),
    "cut within the file": (zipped(SCORES)[:-400], "scores.truncated"),
    "cut within the stored file": (zipped(SCORES, method=STORED)[:-400], "scores.truncated"),
    "cut within the streamed file": (streamed(STORED)[:-400], "scores.truncated"),
    "no directory": (archive(Entry(CONTENT), listed=False)[:-22], "scores.truncated"),
    "an absolute name": (zipped(SCORES, name=b"/etc/scores.npy"), "scores.unreadable"),
    "a name that climbs": (zipped(SCORES, name=b"../scores.npy"), "scores.unreadable"),
    "a name that climbs elsewhere": (zipped(SCORES, name=b"..\\scores.npy"), "scores.unreadable"),
    "a drive": (zipped(SCORES, name=b"C:scores.npy"), "scores.unreadable"),
    "a name with a null byte": (zipped(SCORES, name=b"a\0.npy"), "scores.unreadable"),
    "a name that turns around": (zipped(SCORES, name="\u202escores.npy".encode()), "scores.unreadable"),
    "a folder": (archive(Entry(b"", name=b"scores.npy/")), "scores.unreadable"),
    "another file": (archive(Entry(b"0.1,0.2", name=b"scores.csv")), "scores.unreadable"),
    "no .npy file": (archive(Entry(b"0.1,0.2")), "scores.unreadable"),
    "nothing in the file": (archive(Entry(b"")), "scores.unreadable"),
    "an archive in the archive": (archive(Entry(zipped(SCORES))), "scores.unreadable"),
    "pickles": (archive(Entry(b"\x80\x02.", name=b"scores/data.pkl")), "scores.object"),
    "objects": (archive(Entry(written(np.array([[None]])))), "scores.object"),
    "integers": (zipped(SCORES.astype(int)), "scores.dtype"),
    "one dimension": (zipped(SCORES.ravel()), "scores.shape"),
    "no rows": (zipped(SCORES[:0]), "scores.empty"),
    "encrypted": (zipped(SCORES, header={"flags": 1}), "scores.unreadable"),
    "strongly encrypted": (zipped(SCORES, header={"flags": 0x40}), "scores.unreadable"),
    "bzip2": (zipped(SCORES, method=12), "scores.unreadable"),
    "an unknown method": (zipped(SCORES, method=99), "scores.unreadable"),
    "no deflated bytes": (archive(Entry(CONTENT, packed=b"\xff" * 900)), "scores.damaged"),
    "2**40 rows": (archive(Entry(claiming(f"({2**40}, 7)"))), "scores.truncated"),
    "2**40 rows, and sizes that agree": (
        archive(Entry(claiming(f"({2**40}, 7)"), header=_zip64(2**40 * 28 + 128, 200))),
        "scores.truncated",
    ),
    "2**40 rows, streamed": (archive(Entry(claiming(f"({2**40}, 7)"), header={"flags": 8})), "scores.truncated"),
    "another inflated size": (zipped(SCORES, header={"inflated": 7}), "scores.truncated"),
    "sizes that differ though stored": (zipped(SCORES, method=STORED, header={"taken": 7}), "scores.truncated"),
    "sizes elsewhere, and nowhere": (zipped(SCORES, header=_zip64(1, 1, kind=2)), "scores.unreadable"),
}


@pytest.mark.parametrize("case", AT_THE_START)
def test_what_the_start_tells_is_refused_by_the_start(case: str) -> None:
    content, code = AT_THE_START[case]
    assert code_of_start(content) == code


ONLY_BY_THE_WHOLE = {
    "no directory": (archive(Entry(CONTENT), listed=False) + bytes(99), "scores.damaged"),
    "a directory that is none": (zipped(SCORES).replace(b"PK\x01\x02", b"PK\x01\x03"), "scores.damaged"),
    "a directory of nothing": (zipped(SCORES)[:-22] + zipped(SCORES)[-22:-12] + bytes(4) + bytes(8), "scores.several"),
    "two files": (archive(Entry(CONTENT), Entry(CONTENT, name=b"b.npy")), "scores.several"),
    "two entries for one file": (
        archive(Entry(CONTENT), Entry(b"", packed=b"", listed={"offset": 0})),
        "scores.several",
    ),
    "1,400 entries": (archive(*[Entry(CONTENT)] * 1400), "scores.several"),
    "a directory over any measure": (archive(*[Entry(CONTENT, packed=HEADER)] * 4000), "scores.damaged"),
    "a file that overlaps the directory": (zipped(SCORES, listed={"taken": len(HEADER) + 9}), "scores.unreadable"),
    "something hidden behind the file": (zipped(SCORES, behind=bytes(25)), "scores.unreadable"),
    "a file that begins elsewhere": (zipped(SCORES, listed={"offset": 9}), "scores.unreadable"),
    "another size": (zipped(SCORES, listed={"inflated": len(CONTENT) + 1}), "scores.truncated"),
    "another method": (zipped(SCORES, listed={"method": STORED}), "scores.unreadable"),
    "another method, unknown": (zipped(SCORES, listed={"method": 99}), "scores.unreadable"),
    "another name": (zipped(SCORES, listed={"name": b"scores.pkl"}), "scores.damaged"),
    "a name that is no text": (zipped(SCORES, listed={"name": b"\xff", "flags": 0x800}), "scores.unreadable"),
    "encrypted": (zipped(SCORES, listed={"flags": 1}), "scores.unreadable"),
    "patched": (zipped(SCORES, listed={"flags": 0x20}), "scores.unreadable"),
    "a wrong checksum": (zipped(SCORES, listed={"crc": 1}), "scores.damaged"),
    "a wrong checksum though stored": (zipped(SCORES, method=STORED, listed={"crc": 1}), "scores.damaged"),
    "a stream that ends early": (
        archive(Entry(CONTENT, packed=deflated(CONTENT[:-100]), listed={"crc": zlib.crc32(CONTENT[:-100])})),
        "scores.damaged",
    ),
    "a stream that goes on": (archive(Entry(CONTENT, packed=deflated(CONTENT + bytes(10**7)))), None),
    "a stream that breaks": (
        zipped(LARGE, packed=deflated(written(LARGE))[:90_000] + b"\xff" * 20_000),
        "scores.damaged",
    ),
}


@pytest.mark.parametrize("case", ONLY_BY_THE_WHOLE)
def test_what_the_directory_or_the_content_tells_is_refused_on_opening(case: str, tmp_path: Path) -> None:
    content, code = ONLY_BY_THE_WHOLE[case]
    if code is None:  # no more of it is inflated than its header says
        assert np.array_equal(opened(tmp_path / "scores.npz", content), SCORES)
    else:
        assert code_of_whole(tmp_path / "scores.npz", content) == code


def test_sizes_of_large_archives_stand_in_an_extra_field(tmp_path: Path) -> None:
    content = zipped(
        SCORES,
        header=_zip64(len(CONTENT), len(HEADER)),
        listed={"inflated": len(CONTENT), "taken": len(HEADER), "extra": b""},
    )
    assert np.array_equal(opened(tmp_path / "scores.npz", content), SCORES)


def test_a_directory_of_any_length_is_not_taken_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(10**6))
    with path.open("rb") as file:
        bounded = npz._Bounded(file.fileno(), closefd=False)
        assert len(bounded.read()) == len(bounded.read(10**6)) == npz.PIECE_BYTES
