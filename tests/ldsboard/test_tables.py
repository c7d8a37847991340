"""Reading tables of numbers in the formats of numpy, dattri, spreadsheets and scripts."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.importing.containers import Part
from ldsboard.importing.tables import RawArray, TableError, is_raw, read_array, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

EQUAL_LENGTHS = [[4, 1, 0], [2, 3, 5]]
RAGGED = [[4, 1, 0], [], [2, 3]]


def _npz(path: Path, rows: Sequence[Sequence[int]]) -> None:
    np.savez(path, *(np.array(row, dtype=int) for row in rows))


def _npz_of_one(path: Path, rows: Sequence[Sequence[int]]) -> None:
    np.savez(path, subsets=np.array(rows))


def _json(path: Path, rows: Sequence[Sequence[int]]) -> None:
    path.write_text(json.dumps(rows))


def _csv(path: Path, rows: Sequence[Sequence[int]]) -> None:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def _savetxt(path: Path, rows: Sequence[Sequence[int]]) -> None:
    np.savetxt(path, np.array(rows), fmt="%d")


def _retrain_lds(path: Path, rows: Sequence[Sequence[int]]) -> None:
    """Write the subsets as dattri's retrain_lds does: one file of indices for each subset, one index a line."""
    for i, row in enumerate(rows):
        (path / str(i)).mkdir(parents=True)
        (path / str(i) / "indices.txt").write_text("\n".join(map(str, row)))
    (path / "metadata.yml").write_text(f"mode: lds\nnum_subsets: {len(rows)}\n")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.npy", np.save),
        ("a.npz", _npz),
        ("a.npz", _npz_of_one),
        ("a.json", _json),
        ("a.csv", _csv),
        ("a.txt", _savetxt),
        ("retrain", _retrain_lds),
    ],
)
def test_read_array_reads_rows_of_equal_length(name: str, write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / name, EQUAL_LENGTHS)
    assert read_array(tmp_path / name).tolist() == EQUAL_LENGTHS
    assert read_array(tmp_path / name).dtype == np.int64


@pytest.mark.parametrize(
    ("name", "write"), [("a.npz", _npz), ("a.json", _json), ("a.csv", _csv), ("retrain", _retrain_lds)]
)
def test_read_table_reads_rows_of_different_lengths(name: str, write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / name, RAGGED)
    assert [row.tolist() for row in read_table(tmp_path / name)] == RAGGED
    with pytest.raises(TableError, match=r"rows of equal length in .*got lengths from 0 to 3"):
        read_array(tmp_path / name)


@pytest.mark.parametrize(("name", "write"), [("a.npz", _npz), ("retrain", _retrain_lds)])
def test_read_array_keeps_order_of_more_than_ten_rows(name: str, write: Callable[..., None], tmp_path: Path) -> None:
    write(tmp_path / name, [[i, i + 1] for i in range(23)])
    assert read_array(tmp_path / name)[:, 0].tolist() == list(range(23))


def test_read_array_keeps_every_bit_of_decimal_text(tmp_path: Path) -> None:
    margins_MN = np.random.default_rng(0).normal(size=(4, 3))
    np.savetxt(tmp_path / "margins.csv", margins_MN, delimiter=",")
    assert np.array_equal(read_array(tmp_path / "margins.csv"), margins_MN)


@pytest.mark.parametrize("name", ["subsets.npy", "subsets.pkl"])
def test_read_table_reads_pickled_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rows = np.array([np.array(row, dtype=int) for row in RAGGED], dtype=object)
    if name == "subsets.npy":
        np.save(path, rows)
    else:
        path.write_bytes(pickle.dumps(list(rows)))
    assert [row.tolist() for row in read_table(path)] == RAGGED


def _pickle(path: Path, rows: Sequence[Sequence[int]]) -> None:
    path.write_bytes(pickle.dumps(np.array(rows)))


@pytest.mark.parametrize("suffix", ["", ".mmap", ".NPY", ".dat", ".json", ".csv", ".pt", ".yaml"])
def test_content_decides_and_not_the_suffix(suffix: str, tmp_path: Path) -> None:
    for name, write in (("a.npy", np.save), ("a.npz", _npz), ("a.json", _json), ("a.csv", _csv), ("a.pkl", _pickle)):
        write(tmp_path / name, EQUAL_LENGTHS)
        (tmp_path / name).rename(tmp_path / f"other{suffix}")
        assert read_array(tmp_path / f"other{suffix}").tolist() == EQUAL_LENGTHS


def test_read_table_chooses_among_named_arrays_of_npz(tmp_path: Path) -> None:
    masks, margins = np.array(EQUAL_LENGTHS), np.array([[0.5], [1.5]])
    np.savez(tmp_path / "named.npz", masks=masks, margins=margins)
    np.savez(tmp_path / "pair.npz", margins, masks)
    for name in ("named.npz", "pair.npz"):
        assert np.array_equal(read_table(tmp_path / name, Part.MASKS), masks)
        assert np.array_equal(read_array(tmp_path / name, Part.MARGINS), margins)
    assert np.array_equal(read_array(tmp_path / "named.npz", Part.MARGINS, "masks"), masks)
    with pytest.raises(TableError, match=r"named\.npz: there is no 'values', but 'masks' .*'margins'"):
        read_array(tmp_path / "named.npz", Part.MARGINS, "values")


def _safetensors(path: Path, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    types = {"float32": "F32", "int64": "I64", "bool": "BOOL"}
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        offsets = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": types[array.dtype.name], "shape": [*array.shape], "data_offsets": offsets}  # type: ignore[dict-item]
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_read_table_chooses_among_tensors_of_safetensors(tmp_path: Path) -> None:
    masks, margins = np.array(EQUAL_LENGTHS), np.array([[0.5], [1.5]], dtype=np.float32)
    _safetensors(tmp_path / "both", {"a": margins, "b": masks})
    assert not is_raw(tmp_path / "both")
    assert np.array_equal(read_array(tmp_path / "both", Part.MARGINS), margins)
    assert np.array_equal(read_table(tmp_path / "both", Part.MASKS), masks)
    (tmp_path / "cut").write_bytes((tmp_path / "both").read_bytes()[:-1])
    with pytest.raises(TableError, match=r"Cannot read rows of numbers from .*cut: The file does not have the size"):
        read_table(tmp_path / "cut")


def test_read_table_reads_dict_that_numpy_saved(tmp_path: Path) -> None:
    np.save(tmp_path / "dict.npy", {"masks": np.array(EQUAL_LENGTHS), "margins": np.ones((2, 1))})  # type: ignore[arg-type]
    assert read_array(tmp_path / "dict.npy", Part.MASKS).tolist() == EQUAL_LENGTHS


def test_read_table_reads_files_without_header(tmp_path: Path) -> None:
    margins = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float16)
    margins.tofile(tmp_path / "margins.dat")
    raw = RawArray.parse("float16", "20,7")
    assert is_raw(tmp_path / "margins.dat")
    assert np.array_equal(read_array(tmp_path / "margins.dat", raw=raw), margins)
    with pytest.raises(TableError, match=r"has 280 bytes, but float32 of shape \(20, 7\) needs 560\. Correct --dtype"):
        read_array(tmp_path / "margins.dat", raw=RawArray.parse("float32", "20,7"))
    with pytest.raises(
        TableError, match=r"margins\.dat is no text.* If it is a raw numpy\.memmap, add --dtype and --shape"
    ):
        read_array(tmp_path / "margins.dat")
    (tmp_path / "empty.dat").write_bytes(b"")
    with pytest.raises(TableError, match="has 0 bytes"):
        read_array(tmp_path / "empty.dat", raw=RawArray.parse("float32", "0,7"))


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("float33", "2,3", "--dtype: expected the name of a numpy type of real numbers, got 'float33'"),
        ("complex64", "2,3", "--dtype"),
        ("f4,", "2,3", "--dtype"),
        ("O", "2,3", "--dtype"),
        ("f4", "2x3", "--shape: expected the length of each axis, such as 400,1200, got '2x3'"),
        ("f4", "-1,3", "--shape"),
        ("f4", "", "--shape"),
    ],
)
def test_raw_arrays_need_a_real_type_and_a_shape(dtype: str, shape: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        RawArray.parse(dtype, shape)


def test_only_files_without_a_known_form_are_raw(tmp_path: Path) -> None:
    for name, write in (("a.npy", np.save), ("a.npz", _npz), ("a.csv", _csv), ("a.pkl", _pickle), ("d", _retrain_lds)):
        write(tmp_path / name, EQUAL_LENGTHS)
        assert not is_raw(tmp_path / name)
    for content, expected in (
        (b"\x00\x01", True),
        (b"\xff\xfe12", True),
        (("1 " * 2047 + "x\u00e4").encode(), False),  # the sample ends in the middle of the last character
        (b"1\t2\r\n", False),
        (b"", False),
    ):
        (tmp_path / "content").write_bytes(content)
        assert is_raw(tmp_path / "content") is expected


def test_read_table_never_unpickles(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "sprung"), "w"))

    for name in ("trap.pkl", "trap.pt", "trap.npy", "trap.npz", "trap.json", "trap.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(TableError, match=r"asks for \w+\.open, which no array needs\. Nothing was run"):
            read_table(tmp_path / name)
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127) + b"\n"
    (tmp_path / "trap.npy").write_bytes(header + pickle.dumps(Trap()))
    with pytest.raises(TableError, match=r"asks for \w+\.open, which no array needs"):
        read_table(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b""),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00not a header   "),
        ("a.npy", b"plain text"),
        ("a.npz", b"PK\x03\x04 and nothing more"),
        ("a.npz", b"PK\x05\x06" + bytes(18)),
        ("a.json", b"{"),
        ("a.json", b"[1, null]"),
        ("a.json", b"[]"),
        ("a.json", b'[["a", {}]]'),
        ("a.csv", b"index,other\n1,2\n"),
        ("a.csv", b"\xff\xfe\x00"),
    ],
)
def test_read_array_rejects_malformed_file_and_names_it(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=r"a\.(npy|npz|json|csv)") as refused:
        read_array(tmp_path / name)
    assert "rows of numbers" in str(refused.value)


def test_read_table_names_malformed_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2\n3,four\n")
    with pytest.raises(TableError, match="line 2: could not convert string to float: 'four'"):
        read_table(tmp_path / "a.csv")


def test_read_table_names_missing_subset_of_retrain_folder(tmp_path: Path) -> None:
    _retrain_lds(tmp_path / "retrain", EQUAL_LENGTHS * 3)
    (tmp_path / "retrain/4/indices.txt").unlink()
    with pytest.raises(TableError, match=r"no indices\.txt for subset 4\. .*Copy the folders of all retrain_lds jobs"):
        read_table(tmp_path / "retrain")
    with pytest.raises(TableError, match="for subset 0"):
        read_table(tmp_path)


def test_key_for_a_raw_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "margins.mmap"
    np.arange(6, dtype="<f4").tofile(path)
    raw = RawArray("<f4", (3, 2))
    assert read_array(path, raw=raw).shape == (3, 2)
    with pytest.raises(TableError, match="holds one array without a name, so no key can choose 'second'"):
        read_array(path, key="second", raw=raw)
