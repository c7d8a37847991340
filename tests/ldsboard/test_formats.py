"""Reading .npy headers, valid and malformed, and error messages for other file formats."""

from __future__ import annotations

import gzip
import pickle
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsboard import ProblemError
from ldsboard.formats import npy
from ldsboard.formats.score_files import HEADER_LIMIT, file_header, open_scores, read_header
from tests.ldsboard.files import npy_bytes

if TYPE_CHECKING:
    from pathlib import Path

LATIN, UTF8 = (1, 0), (3, 0)


def npy_with_text(text: str, *, version: tuple[int, int] = (2, 0), claimed: int | None = None) -> bytes:
    encoded = text.encode("utf-8")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(encoded) if claimed is None else claimed)
    return b"\x93NUMPY" + bytes(version) + size + encoded


def npy_with_fields(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 2)", more: str = "") -> bytes:
    return npy_with_text(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}\n")


def header_error_code(start: bytes, size: int | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        read_header(start[:HEADER_LIMIT], len(start) if size is None else size)
    assert caught.value.problem.hint
    assert len(str(caught.value)) < 400
    return caught.value.problem.code


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"])
def test_read_header_agrees_with_numpy(version: tuple[int, int], order: str, dtype: str, tmp_path: Path) -> None:
    array = np.array(np.arange(15).reshape(5, 3), dtype=dtype, order="F" if order == "F" else "C")
    data = npy_bytes(array, version)
    parsed = read_header(data, len(data))
    assert (parsed.dtype, parsed.fortran_order, parsed.shape) == (array.dtype, order == "F", (5, 3))
    assert parsed.file_size == len(data)
    path = tmp_path / "scores.npy"
    path.write_bytes(data)
    assert file_header(path) == parsed
    mapped = open_scores(path)
    assert isinstance(mapped, np.memmap)
    assert np.array_equal(mapped, np.load(path))


def test_read_header_accepts_explicit_native_byte_order() -> None:
    assert read_header(npy_with_fields("'=f8'"), None).dtype == np.float64


@pytest.mark.parametrize("array", [np.float32(3), np.zeros(0), np.zeros((3, 0)), np.zeros((1, 2, 3))], ids=str)
def test_npy_parser_accepts_any_shape_and_open_scores_only_two_dimensions(
    array: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    path = tmp_path / "scores.npy"
    np.save(path, array)
    assert npy.parse(path.read_bytes()).shape == array.shape
    with pytest.raises(ProblemError) as caught:
        open_scores(path)
    assert caught.value.problem.code == ("scores.empty" if array.size == 0 else "scores.shape")


MALFORMED = {
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
    "version 0": (npy_with_text("{}" * 9, version=(0, 0)), "scores.unreadable"),
    "version 4": (npy_with_text("{}" * 9, version=(4, 0)), "scores.unreadable"),
    "cut within the header": (npy_bytes(np.zeros((2, 2)))[:60], "scores.unreadable"),
    "header longer than the file": (npy_with_text("{}" * 9, claimed=5000), "scores.unreadable"),
    "header of 4 GiB": (npy_with_text("{}" * 9, claimed=2**32 - 1), "scores.unreadable"),
    "header over the limit": (npy_with_text(" " * HEADER_LIMIT), "scores.unreadable"),
    "no text": (b"\x93NUMPY\x03\x00" + struct.pack("<I", 8) + b"\xff" * 8, "scores.unreadable"),
    "null bytes": (npy_with_text("\0" * 80), "scores.unreadable"),
    "unbalanced": (npy_with_text("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)"), "scores.unreadable"),
    "a call": (npy_with_text("__import__('os').getcwd()"), "scores.unreadable"),
    "a list": (npy_with_text("['descr', 'fortran_order', 'shape']"), "scores.unreadable"),
    "a number": (npy_with_text("1234567890"), "scores.unreadable"),
    "a key missing": (npy_with_text("{'descr': '<f4', 'fortran_order': False}"), "scores.unreadable"),
    "a key too many": (npy_with_fields(more="'extra': 1"), "scores.unreadable"),
    "unhashable keys": (npy_with_text("{[]: 1, 'descr': '<f4'}"), "scores.unreadable"),
    "order as a number": (npy_with_fields(order="0"), "scores.unreadable"),
    "shape as a list": (npy_with_fields(shape="[2, 2]"), "scores.unreadable"),
    "shape of floats": (npy_with_fields(shape="(2.0, 2)"), "scores.unreadable"),
    "shape of bools": (npy_with_fields(shape="(True, 2)"), "scores.unreadable"),
    "negative": (npy_with_fields(shape="(-1, 2)"), "scores.unreadable"),
    "negative twice": (npy_with_fields(shape="(-2, -2)"), "scores.unreadable"),
    "2**40 rows": (npy_with_fields(shape="(1099511627776, 2)"), "scores.truncated"),
    "a side of 4000 digits": (npy_with_fields(shape=f"({'9' * 4000}, {'9' * 4000})"), "scores.unreadable"),
    "a side of 5000 digits": (npy_with_fields(shape=f"({'9' * 5000}, 2)"), "scores.unreadable"),
    "a side of 20,000 bits": (npy_with_fields(shape=f"(0x{'f' * 5000}, 2)"), "scores.unreadable"),
    "20,000 dimensions": (npy_with_fields(shape=f"({'1,' * 20_000})"), "scores.unreadable"),
    "deep lists": (npy_with_text("[" * 60_000), "scores.unreadable"),
    "deep brackets": (npy_with_text("(" * 150 + ")" * 150), "scores.unreadable"),
    "deep signs": (npy_with_text("-" * 60_000 + "1"), "scores.unreadable"),
    "a long sum": (npy_with_text("1" + "+1" * 30_000), "scores.unreadable"),
    "objects": (npy_bytes(np.array([[None]])), "scores.object"),
    "objects, short": (npy_with_fields("'O'"), "scores.object"),
    "structured": (npy_bytes(np.zeros((2, 2), dtype=[("a", "<f4")])), "scores.dtype"),
    "structured objects": (npy_with_fields("[('a', '|O')]"), "scores.dtype"),
    "a type of 20,000 bits": (npy_with_fields("0x" + "f" * 5000), "scores.dtype"),
    "a type of 60,000 letters": (npy_with_fields("'" + "f" * 60_000 + "'"), "scores.dtype"),
    "no type": (npy_with_fields("''"), "scores.dtype"),
    "two types": (npy_with_fields("'<f4,<f4'"), "scores.dtype"),
    "integers": (npy_bytes(np.zeros((2, 2), dtype=int)), "scores.dtype"),
    "complex": (npy_bytes(np.zeros((2, 2), dtype=complex)), "scores.dtype"),
    "long double": (npy_with_fields("'<f16'"), "scores.dtype"),
    "text items": (npy_bytes(np.array([["a"]])), "scores.dtype"),
    "cut within the data": (npy_bytes(np.zeros((20, 2)))[:-1], "scores.truncated"),
    "one byte more": (npy_bytes(np.zeros((2, 2))) + b"\0", "scores.truncated"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_read_header_rejects_malformed_file_with_its_code(case: str) -> None:
    data, code = MALFORMED[case]
    assert header_error_code(data) == code


@pytest.mark.parametrize("length", range(len(npy_bytes(np.zeros((2, 2)))) - 1))
def test_read_header_rejects_file_truncated_at_any_byte(length: int) -> None:
    whole = npy_bytes(np.zeros((2, 2)))
    code = "scores.empty" if length == 0 else "scores.unreadable" if length < len(whole) - 32 else "scores.truncated"
    assert header_error_code(whole[:length]) == code


@given(st.data())
def test_read_header_reads_or_rejects_changed_header(data: st.DataObject) -> None:
    start = bytearray(npy_bytes(np.zeros((2, 2))))
    for _ in range(data.draw(st.integers(1, 3))):
        start[data.draw(st.integers(0, len(start) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_header(bytes(start), len(start))
    except ProblemError as error:
        assert error.problem.code.startswith("scores.")  # noqa: PT017 -- both outcomes are correct


@given(st.binary(max_size=200))
def test_read_header_rejects_any_random_header_text(text: bytes) -> None:
    for version in (LATIN, UTF8):
        start = b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == LATIN else "<I", len(text)) + text
        assert header_error_code(start).startswith("scores.")


def test_open_scores_rejects_file_shorter_than_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "scores.npy"
    path.write_bytes(npy_bytes(np.zeros((4, 2)))[:-8])
    with pytest.raises(ProblemError, match=r"expected \d+ bytes for float64 \(4, 2\), got \d+ bytes") as caught:
        open_scores(path)
    assert caught.value.problem.code == "scores.truncated"


def test_open_scores_raises_file_not_found_for_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_scores(tmp_path / "scores.npy")


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"0.1,0.2\n0.3,0.4\n", r"a text that begins with '0.1,0.2\\n0.3,0.4\\n'.*The command line reads"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file.*h5py"),
        (b"\x28\xb5\x2f\xfd\0", "compressed by zstd.*Decompress"),
        (b"\0\1\2\3\4\5\6\7", r"begins with b'\\x00\\x01"),
    ],
)
def test_read_header_names_unsupported_format(start: bytes, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        read_header(start, len(start))
