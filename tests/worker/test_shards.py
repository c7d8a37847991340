"""Writing and reading shards; damaged shards and shards of another configuration are rejected."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from worker.shards import Shard, ShardError, format_ranges, missing_models, read_shards, split_into_shards

if TYPE_CHECKING:
    from pathlib import Path


def shard(start: int, stop: int) -> Shard:
    k = stop - start
    models = np.array([("public", str(i), "0") for i in range(start, stop)])
    return Shard(start, stop, models, np.ones((k, 3), np.float32), np.ones(k), np.zeros(k), 1.5)


def test_read_all_returns_written_shard(tmp_path: Path) -> None:
    shard(4, 8).write(tmp_path, "abc")
    (found,) = read_shards(tmp_path, "abc")
    assert (found.start, found.stop, found.seconds) == (4, 8, 1.5)
    np.testing.assert_array_equal(found.models, shard(4, 8).models)
    assert found.margins.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["models-000004-000008.npz"]


def test_read_all_rejects_shard_of_other_configuration(tmp_path: Path) -> None:
    shard(0, 4).write(tmp_path, "abc")
    with pytest.raises(ShardError, match="another configuration: expected the digest def, got abc"):
        read_shards(tmp_path, "def")


def test_read_all_rejects_damaged_shard(tmp_path: Path) -> None:
    shard(0, 4).write(tmp_path, "abc")
    path = tmp_path / "models-000000-000004.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ShardError, match=r"is damaged .*Delete the file"):
        read_shards(tmp_path, "abc")


def npz_with_members(**members: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **members)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"PK", npz_with_members(a=1), npz_with_members(configuration="abc"), b"\x93NUMPY"]
)
def test_read_all_rejects_file_that_is_no_shard_and_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "models-000000-000004.npz").write_bytes(content)
    with pytest.raises(ShardError, match=r"models-000000-000004.npz is damaged .*Delete the file"):
        read_shards(tmp_path, "abc")


def test_read_all_rejects_array_instead_of_shard(tmp_path: Path) -> None:
    with (tmp_path / "models-000000-000004.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ShardError, match="is damaged"):
        read_shards(tmp_path, "abc")


def test_read_all_ignores_partially_written_shard(tmp_path: Path) -> None:
    (tmp_path / ".models-000000-000004.npz.123").write_bytes(b"half")
    assert read_shards(tmp_path, "abc") == []


def test_cut_never_splits_groups() -> None:
    assert split_into_shards(25, 10, 5) == [range(10), range(10, 20), range(20, 25)]
    for size in (0, 7, -5):
        with pytest.raises(ShardError, match=f"multiple of 5, .*got {size}"):
            split_into_shards(25, size, 5)


def test_missing_models_are_formatted_as_ranges() -> None:
    absent = missing_models([shard(0, 4), shard(8, 12), shard(8, 10)], 16)
    assert format_ranges(absent) == "4-7, 12-15"
    assert format_ranges(set()) == ""
