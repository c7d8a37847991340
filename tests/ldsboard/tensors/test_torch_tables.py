"""Ground truth in the files of torch, as libraries write it.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard.importing.origins import Origin
from ldsboard.importing.reading import read_origin
from ldsboard.importing.tables import TableError, read_array
from tests.ldsboard.origin_files import MARGINS, MASKS, index_lists, n, rng

if TYPE_CHECKING:
    from pathlib import Path

INDICES = np.stack([rng.permutation(indices) for indices in index_lists(MASKS)])
LOSSES = torch.from_numpy(-MARGINS)


def check(origin: Origin) -> None:
    found = read_origin(origin)
    assert np.array_equal(found.masks_Mn, MASKS)
    assert np.array_equal(found.margins_MRN[:, 0], MARGINS)


def test_read_origin_reads_arrays_of_kronfluence(tmp_path: Path) -> None:
    torch.save(MASKS.astype(np.int8), tmp_path / "masks.pt")
    torch.save(MARGINS, tmp_path / "margins.pt")
    check(Origin(tmp_path / "masks.pt", tmp_path / "margins.pt"))


@pytest.mark.parametrize("form", ["two files", "tuple", "list", "dict"])
def test_read_origin_reads_values_and_indices_of_dattri(tmp_path: Path, form: str) -> None:
    values, indices = torch.from_numpy(MARGINS), torch.from_numpy(INDICES)
    contents: dict[str, Any] = {
        "tuple": (values, indices),
        "list": [values, indices],
        "dict": {"target_values": values, "indices": indices},
    }
    masks, margins = tmp_path / "indices.pt", tmp_path / "values.pt"
    torch.save(indices, masks)
    torch.save(contents.get(form, values), margins)
    check(Origin(margins if form in contents else masks, margins, n_train=n))


def test_read_origin_reads_loss_cache_of_bergson(tmp_path: Path) -> None:
    cache = {"baseline": torch.tensor(0.4), "baseline_per_doc": torch.zeros(len(MARGINS[0])), "per_subset": LOSSES}
    torch.save(cache, tmp_path / "losses.pt")
    (tmp_path / "subsets.json").write_text(json.dumps([row.tolist() for row in index_lists(~MASKS)]))
    check(Origin(tmp_path / "subsets.json", tmp_path / "losses.pt", n_train=n, removed=True, losses=True))


def test_read_origin_reads_loss_cache_of_bergson_with_one_query(tmp_path: Path) -> None:
    """The losses of one query are a vector, beside a vector of zeros that has one number for each document."""
    for seed in range(2):
        cache = {"baseline": 0.4, "baseline_per_doc": torch.zeros(7), "per_subset": LOSSES[:, seed]}
        torch.save(cache, tmp_path / f"losses{seed}")
    np.save(tmp_path / "masks.npy", MASKS)
    origin = Origin(tmp_path / "masks.npy", tmp_path / "losses0", losses=True)
    assert np.array_equal(read_origin(origin).margins_MRN, MARGINS[:, :1, None])
    both = read_origin(replace(origin, further_runs=(tmp_path / "losses1",)))
    assert np.array_equal(both.margins_MRN, MARGINS[:, :2, None])


@pytest.mark.parametrize("protocol", [2, 4])
def test_read_origin_reads_the_format_of_old_torch(tmp_path: Path, protocol: int) -> None:
    """That is, of torch before version 1.6, and of files saved without zip: tensors, their views, and numpy arrays."""
    masks, margins = tmp_path / "masks's.pt", tmp_path / "margins.pt"
    contents: list[Any] = [
        torch.from_numpy(MARGINS),
        torch.from_numpy(np.ascontiguousarray(MARGINS.T)).T,
        torch.from_numpy(np.concatenate([MARGINS, MARGINS]))[len(MARGINS) :],
        torch._neg_view(LOSSES),
        torch.nn.Parameter(torch.from_numpy(MARGINS)),
        MARGINS,
        {"baseline": torch.zeros(3), "per_subset": torch.from_numpy(MARGINS)},
    ]
    save: dict[str, Any] = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": False}
    torch.save(MASKS, masks, **save)
    for content in contents:
        torch.save(content, margins, **save)
        check(Origin(masks, margins))
    torch.save(torch.from_numpy(MARGINS).bfloat16(), margins, **save)
    assert np.array_equal(read_array(margins), torch.from_numpy(MARGINS).bfloat16().float().numpy())
    torch.save((torch.from_numpy(MARGINS), torch.from_numpy(INDICES)), margins, **save)
    check(Origin(margins, margins, n_train=n))


def test_read_array_refuses_damaged_files_of_old_torch_and_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "sprung"), "w"))

    path = tmp_path / "old.pt"
    torch.save([LOSSES, Trap()], path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        TableError, match=r"old\.pt is a pickle .*asks for \w+\.open, which no array needs\. Nothing was run"
    ):
        read_array(path)
    assert not (tmp_path / "sprung").exists()
    torch.save(LOSSES, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for size in range(32, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(TableError, match=r"old\.pt"):
            read_array(path)
    numbers = LOSSES.numel().to_bytes(8, "little") + LOSSES.numpy().tobytes()
    assert whole.endswith(numbers)
    for other in (2**62, LOSSES.numel() - 1):
        path.write_bytes(whole.replace(numbers, other.to_bytes(8, "little") + numbers[8:]))
        with pytest.raises(TableError, match=r"ends before the last number|more numbers than its storage"):
            read_array(path)


def test_read_array_refuses_other_objects_and_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"values": LOSSES, "trap": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(
        TableError, match=r"trap\.pt is a pickle .*asks for \w+\.open, which no array needs\. Nothing was run"
    ):
        read_array(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()
