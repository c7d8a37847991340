"""The header of a score file, true and false: .npy, and what is told of other formats."""

from __future__ import annotations

import gzip
import pickle
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsboard import ProblemError, npy
from ldsboard.formats import HEADER_LIMIT, file_header, open_scores, read_header
from tests.ldsboard.files import written

if TYPE_CHECKING:
    from pathlib import Path

LATIN, UTF8 = (1, 0), (3, 0)


def header(text: str, *, version: tuple[int, int] = (2, 0), claimed: int | None = None) -> bytes:
    encoded = text.encode("utf-8")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(encoded) if claimed is None else claimed)
    return b"\x93NUMPY" + bytes(version) + size + encoded


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 2)", more: str = "") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}\n")


def code_of(start: bytes, size: int | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(start[:HEADER_LIMIT], len(start) if size is None else size)
    assert caught.value.problem.hint
    assert len(str(caught.value)) < 400
    return caught.value.problem.code


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
def test_headers_are_read_as_numpy_reads_them(version: tuple[int, int], order: str, dtype: str, tmp_path: Path) -> None:
    array = np.array(np.arange(15).reshape(5, 3), dtype=dtype, order="F" if order == "F" else "C")
    data = written(array, version)
    parsed = read_header(data, len(data))
    assert (parsed.dtype, parsed.fortran_order, parsed.shape) == (array.dtype, order == "F", (5, 3))
    assert parsed.file_size == len(data)
    path = tmp_path / "scores.npy"
    path.write_bytes(data)
    assert file_header(path) == parsed
    mapped = open_scores(path)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, np.load(path))


def test_native_byte_order_may_be_spelled_out() -> None:
    assert read_header(described("'=f8'"), None).dtype == np.float64


@pytest.mark.parametrize("array", [np.float32(3), np.zeros(0), np.zeros((3, 0)), np.zeros((1, 2, 3))], ids=str)
def test_any_shape_is_parsed_and_only_tables_are_opened(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    np.save(path, array)
    assert npy.parse(path.read_bytes()).shape == array.shape
    with pytest.raises(ProblemError) as caught:
        open_scores(path)
    assert caught.value.problem.code == ("scores.empty" if array.size == 0 else "scores.shape")


BROKEN = {
    "nothing": (b"", "scores.empty"),
    "text": (b"0.1,0.2\n0.3,0.4\n", "scores.unreadable"),
    "zip": (b"PK\x03\x04" + bytes(60), "scores.unreadable"),
    "zip, cut": (b"PK\x03\x04" + bytes(20), "scores.unreadable"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "scores.empty"),
    "pickle": (pickle.dumps(np.zeros((2, 2))), "scores.object"),
    "gzip": (gzip.compress(b"scores"), "scores.unreadable"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "scores.unreadable"),
    "JSON": (b'[[{"a": 1}]]', "scores.unreadable"),
    "bytes": (b"\xff\0\1\2" * 9, "scores.unreadable"),
    "magic alone": (b"\x93NUMPY", "scores.unreadable"),
    "magic and version": (b"\x93NUMPY\x01\x00\x76", "scores.unreadable"),
    "version 0": (header("{}" * 9, version=(0, 0)), "scores.unreadable"),
    "version 4": (header("{}" * 9, version=(4, 0)), "scores.unreadable"),
    "cut within the header": (written(np.zeros((2, 2)))[:60], "scores.unreadable"),
    "header longer than the file": (header("{}" * 9, claimed=5000), "scores.unreadable"),
    "header of 4 GiB": (header("{}" * 9, claimed=2**32 - 1), "scores.unreadable"),
    "header over the limit": (header(" " * HEADER_LIMIT), "scores.unreadable"),
    "no text": (b"\x93NUMPY\x03\x00" + struct.pack("<I", 8) + b"\xff" * 8, "scores.unreadable"),
    "null bytes": (header("\0" * 80), "scores.unreadable"),
    "unbalanced": (header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)"), "scores.unreadable"),
    "a call": (header("__import__('os').getcwd()"), "scores.unreadable"),
    "a list": (header("['descr', 'fortran_order', 'shape']"), "scores.unreadable"),
    "a number": (header("1234567890"), "scores.unreadable"),
    "a key missing": (header("{'descr': '<f4', 'fortran_order': False}"), "scores.unreadable"),
    "a key too many": (described(more="'extra': 1"), "scores.unreadable"),
    "unhashable keys": (header("{[]: 1, 'descr': '<f4'}"), "scores.unreadable"),
    "order as a number": (described(order="0"), "scores.unreadable"),
    "shape as a list": (described(shape="[2, 2]"), "scores.unreadable"),
    "shape of floats": (described(shape="(2.0, 2)"), "scores.unreadable"),
    "shape of bools": (described(shape="(True, 2)"), "scores.unreadable"),
    "negative": (described(shape="(-1, 2)"), "scores.unreadable"),
    "negative twice": (described(shape="(-2, -2)"), "scores.unreadable"),
    "2**40 rows": (described(shape="(1099511627776, 2)"), "scores.truncated"),
    "a side of 4000 digits": (described(shape=f"({'9' * 4000}, {'9' * 4000})"), "scores.unreadable"),
    "a side of 5000 digits": (described(shape=f"({'9' * 5000}, 2)"), "scores.unreadable"),
    "a side of 20,000 bits": (described(shape=f"(0x{'f' * 5000}, 2)"), "scores.unreadable"),
    "20,000 dimensions": (described(shape=f"({'1,' * 20_000})"), "scores.unreadable"),
    "deep lists": (header("[" * 60_000), "scores.unreadable"),
    "deep brackets": (header("(" * 150 + ")" * 150), "scores.unreadable"),
    "deep signs": (header("-" * 60_000 + "1"), "scores.unreadable"),
    "a long sum": (header("1" + "+1" * 30_000), "scores.unreadable"),
    "objects": (written(np.array([[None]])), "scores.object"),
    "objects, short": (described("'O'"), "scores.object"),
    "structured": (written(np.zeros((2, 2), dtype=[("a", "<f4")])), "scores.dtype"),
    "structured objects": (described("[('a', '|O')]"), "scores.dtype"),
    "a type of 20,000 bits": (described("0x" + "f" * 5000), "scores.dtype"),
    "a type of 60,000 letters": (described("'" + "f" * 60_000 + "'"), "scores.dtype"),
    "no type": (described("''"), "scores.dtype"),
    "two types": (described("'<f4,<f4'"), "scores.dtype"),
    "integers": (written(np.zeros((2, 2), dtype=int)), "scores.dtype"),
    "complex": (written(np.zeros((2, 2), dtype=complex)), "scores.dtype"),
    "long double": (described("'<f16'"), "scores.dtype"),
    "text items": (written(np.array([["a"]])), "scores.dtype"),
    "cut within the data": (written(np.zeros((20, 2)))[:-1], "scores.truncated"),
    "one byte more": (written(np.zeros((2, 2))) + b"\0", "scores.truncated"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gets_its_code_and_never_another_error(case: str) -> None:
    data, code = BROKEN[case]
    assert code_of(data) == code


@pytest.mark.parametrize("length", range(len(written(np.zeros((2, 2)))) - 1))
def test_a_file_cut_anywhere_is_never_read(length: int) -> None:
    whole = written(np.zeros((2, 2)))
    code = "scores.empty" if length == 0 else "scores.unreadable" if length < len(whole) - 32 else "scores.truncated"
    assert code_of(whole[:length]) == code


@given(st.data())
def test_a_header_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    start = bytearray(written(np.zeros((2, 2))))
    for _ in range(data.draw(st.integers(1, 3))):
        start[data.draw(st.integers(0, len(start) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_header(bytes(start), len(start))
    except ProblemError as error:
        assert error.problem.code.startswith("scores.")  # noqa: PT017 -- either outcome is right


@given(st.binary(max_size=200))
def test_any_header_text_is_read_or_refused(text: bytes) -> None:
    for version in (LATIN, UTF8):
        start = b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == LATIN else "<I", len(text)) + text
        assert code_of(start).startswith("scores.")


def test_only_the_file_says_how_large_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    path.write_bytes(written(np.zeros((4, 2)))[:-8])
    with pytest.raises(ProblemError, match=r"expected \d+ bytes for float64 \(4, 2\), got \d+ bytes") as caught:
        open_scores(path)
    assert caught.value.problem.code == "scores.truncated"


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_scores(tmp_path / "scores.npy")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"0.1,0.2\n0.3,0.4\n", r"a text that begins with '0.1,0.2\\n0.3,0.4\\n'.*numpy.loadtxt"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file.*h5py"),
        (b"\x28\xb5\x2f\xfd\0", "compressed by zstd.*Decompress"),
        (b"\0\1\2\3\4\5\6\7", r"begins with b'\\x00\\x01"),
    ],
)
def test_what_is_read_in_no_way_is_named(start: bytes, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        read_header(start, len(start))
