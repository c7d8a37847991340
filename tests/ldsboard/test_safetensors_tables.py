"""Files of kronfluence: the modules are summed, the partitions joined, and what is no file of kronfluence is not summed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.formats.saved_scores import read_saved
from tests.ldsboard.library_files import (
    bfloat16_bits,
    modules_of,
    write_kronfluence,
    write_kronfluence_modules,
    write_kronfluence_partitions,
    write_safetensors,
)

if TYPE_CHECKING:
    from pathlib import Path

SCORES = (np.arange(90).reshape(30, 3) / 4 - 11.5).astype("f4")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "bfloat16"])
def test_all_modules_is_read_in_every_type(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "pairwise_scores.safetensors"
    values = bfloat16_bits(SCORES.T) if dtype == "bfloat16" else SCORES.T.astype(dtype)
    write_safetensors(path, {"all_modules": values})
    expected = SCORES.T if dtype != "bfloat16" else (bfloat16_bits(SCORES.T).astype("u4") << 16).view("f4")
    assert np.array_equal(read_saved(path).array, expected)
    assert np.array_equal(read_saved(tmp_path).array, expected)
    others = {"fc": values, "all_modules": values}
    write_safetensors(path, others)
    assert np.array_equal(read_saved(path).array, expected)
    assert np.array_equal(read_saved(path, "fc").array, expected)


def test_modules_are_summed_in_float64_and_this_is_said(tmp_path: Path) -> None:
    path = tmp_path / "renamed"
    write_kronfluence_modules(path, SCORES / 3)
    saved = read_saved(path)
    assert saved.array.dtype == np.float64
    assert np.array_equal(saved.array, SCORES.T / 3)
    assert saved.notes == ("The scores of 2 modules of kronfluence were summed.",)
    modules = modules_of(SCORES, np.random.default_rng(2))
    write_safetensors(tmp_path / "pairwise_scores.safetensors", modules)
    assert np.array_equal(read_saved(tmp_path / "pairwise_scores.safetensors").array, SCORES.T)
    for name, tensors in (
        ("others.safetensors", modules),
        ("pairwise_scores.safetensors", {"a": SCORES, "b": SCORES[1:]}),
    ):
        write_safetensors(tmp_path / name, tensors, {"format": "pt"})
        with pytest.raises(ProblemError, match="Choose one with --key NAME"):
            read_saved(tmp_path / name)


def test_partitions_are_joined_and_a_missing_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    write_kronfluence_partitions(folder, SCORES)
    assert np.array_equal(read_saved(folder).array, SCORES.T)
    write_kronfluence(folder / "pairwise_scores.safetensors", 2 * SCORES)
    assert np.array_equal(read_saved(folder).array, 2 * SCORES.T)
    (folder / "pairwise_scores.safetensors").unlink()
    part = "pairwise_scores_data_partition{}_module_partition{}.safetensors"
    write_safetensors(folder / part.format(1, 1), {"all_modules": SCORES.T[:, :5]})
    with pytest.raises(ProblemError, match="partitions of other shapes"):
        read_saved(folder)
    write_safetensors(folder / part.format(1, 1), {"all_modules": SCORES[0]})
    with pytest.raises(ProblemError, match=r"got 'all_modules' \(3,\)"):
        read_saved(folder)
    (folder / part.format(0, 1)).unlink()
    with pytest.raises(
        ProblemError, match=r"2 data partitions of 2 module partitions each, got no file of the partitions \(0, 1\)"
    ):
        read_saved(folder)


@pytest.mark.parametrize(
    "stated", [{"data_partitions": 1, "module_partitions": 2}, {"data_partitions": 10**9, "module_partitions": 1}]
)
def test_partition_that_kronfluence_did_not_save_is_missed(stated: dict[str, int], tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    file = folder / "pairwise_scores_data_partition0_module_partition0.safetensors"
    write_safetensors(file, {"all_modules": SCORES.T})
    assert np.array_equal(read_saved(folder).array, SCORES.T)  # nothing tells that there were others
    (folder / "score_arguments.json").write_text(json.dumps(stated))
    with pytest.raises(ProblemError, match=r"got no file of the partitions .* in total"):
        read_saved(folder)
    with pytest.raises(ProblemError, match=r"one of kronfluence's partitions.*Give the folder"):
        read_saved(file)
