"""Folders of zarr, versions 2 and 3: chunks are put together, and codecs that this program does not know are refused."""

from __future__ import annotations

import gzip
import sys
import zlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.formats.saved_scores import read_saved
from tests.ldsboard.library_files import write_zarr_2, write_zarr_3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCORES = (np.arange(35).reshape(7, 5) / 4 - 3).astype("f4")
CHUNK = (2, 3)
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8", "<i8"])
def test_chunks_of_every_type_are_put_together(tmp_path: Path, dtype: str) -> None:
    values = SCORES.astype(dtype)
    write_zarr_2(tmp_path / "2", values, CHUNK)
    write_zarr_2(tmp_path / "F", values, CHUNK, order="F")
    endian = [{"name": "bytes", "configuration": {"endian": "big" if dtype[0] == ">" else "little"}}]
    write_zarr_3(tmp_path / "3", values, CHUNK, codecs=endian)
    for name in ("2", "F", "3"):
        assert np.array_equal(read_saved(tmp_path / name).array, values.T)


@pytest.mark.parametrize(("codec", "compress"), [("gzip", gzip.compress), ("zlib", zlib.compress)])
def test_compressed_chunks_and_missing_chunks_are_read(
    tmp_path: Path, codec: str, compress: Callable[[bytes], bytes]
) -> None:
    write_zarr_2(tmp_path / "2", SCORES, CHUNK, compressor={"id": codec, "level": 1}, fill_value=None)
    write_zarr_3(tmp_path / "3", SCORES, CHUNK, codecs=[BYTES, {"name": codec}], fill_value=0)
    for chunk in [*(tmp_path / "2").glob("?.?"), *(tmp_path / "3/c").glob("?/?")]:
        chunk.write_bytes(compress(chunk.read_bytes()))
    (tmp_path / "2/0.0").unlink()
    (tmp_path / "3/c/0/0").unlink()
    expected = SCORES.T.copy()
    expected[:2, :3] = 0
    for name in ("2", "3"):
        assert np.array_equal(read_saved(tmp_path / name).array, expected)


def test_chunks_are_found_under_the_names_of_both_encodings(tmp_path: Path) -> None:
    write_zarr_2(tmp_path / "2", SCORES, CHUNK, dimension_separator="/")
    write_zarr_3(tmp_path / "3", SCORES, CHUNK, chunk_key_encoding={"name": "v2"})
    for path in list((tmp_path / "2").glob("?.?")):
        (tmp_path / "2" / path.name[0]).mkdir(exist_ok=True)
        path.rename(tmp_path / "2" / path.name[0] / path.name[2])
    for path in list((tmp_path / "3/c").glob("?/?")):
        path.rename(tmp_path / "3" / f"{path.parent.name}.{path.name}")
    for name in ("2", "3"):
        assert np.array_equal(read_saved(tmp_path / name).array, SCORES.T)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a group": ({"node_type": "group"}, "Name the folder of one array"),
    "one dimension": (
        {"shape": [7], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3]}}},
        "shape",
    ),
    "a negative side": ({"shape": [-1, 5]}, "does not describe"),
    "a chunk without a side": (
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}}},
        "not describe",
    ),
    "an empty chunk": (
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}},
        "does not describe",
    ),
    "texts": ({"data_type": "S4"}, "does not describe"),
    "objects": ({"data_type": "O"}, "does not describe"),
    "another folder": ({"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/../"}}}, "not describe"),
    "no codecs": ({"codecs": None}, "cannot be understood"),
    "another grid": ({"chunk_grid": {"name": "odd", "configuration": {"chunk_shape": [2, 3]}}}, "encoded by 'odd'"),
    "a pickle": (
        {"codecs": [BYTES, {"name": "numcodecs.pickle"}]},
        "encoded by 'numcodecs.pickle'. Write the array without",
    ),
    "zstd": ({"codecs": [BYTES, {"name": "zstd"}]}, "encoded by bytes, zstd. Install the zarr package"),
    "chunks of another size": ({"data_type": "float64"}, "The chunk 0 of the zarr array cannot be read"),
    "chunks that are not compressed": (
        {"codecs": [BYTES, {"name": "gzip"}]},
        "The chunk 0 of the zarr array cannot be read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_folder_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    changes, words = REFUSED[name]
    write_zarr_3(tmp_path / "a.zarr", SCORES, CHUNK, **changes)
    with pytest.raises(ProblemError, match=words) as refused:
        read_saved(tmp_path / "a.zarr")
    assert len(str(refused.value)) < 600


def test_filter_group_and_two_versions_are_refused(tmp_path: Path) -> None:
    write_zarr_2(tmp_path / "2", SCORES, CHUNK, filters=[{"id": "pickle"}])
    with pytest.raises(ProblemError, match="encoded by 'pickle'"):
        read_saved(tmp_path / "2")
    (tmp_path / "2/zarr.json").write_text("{}")
    with pytest.raises(ProblemError, match="two versions"):
        read_saved(tmp_path / "2")
    (tmp_path / "2/.zarray").unlink()
    (tmp_path / "2/zarr.json").write_text("[" * 100_000)
    with pytest.raises(ProblemError, match="cannot be understood"):
        read_saved(tmp_path / "2")
    (tmp_path / "group").mkdir()
    (tmp_path / "group/.zgroup").write_text("{}")
    with pytest.raises(ProblemError, match="Name the folder of one array"):
        read_saved(tmp_path / "group")


def test_other_compression_is_left_to_the_zarr_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zarr_2(tmp_path / "2", SCORES, CHUNK, compressor={"id": "blosc"})
    found = {str(tmp_path / "2"): SCORES.T}
    monkeypatch.setitem(sys.modules, "zarr", SimpleNamespace(open=lambda path, **_: found[path]))
    assert np.array_equal(read_saved(tmp_path / "2").array, SCORES.T)
    found.clear()
    with pytest.raises(ProblemError, match="the zarr package cannot read"):
        read_saved(tmp_path / "2")
