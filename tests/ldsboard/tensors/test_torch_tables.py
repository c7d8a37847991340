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
from tests.ldsboard.suggested_commands import run_suggested_command

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


def test_read_array_refuses_old_format_with_a_command_that_works(tmp_path: Path) -> None:
    path = tmp_path / "values.pt"
    torch.save(LOSSES, path, _use_new_zipfile_serialization=False)
    with pytest.raises(TableError, match=r"the format of torch before version 1\.6") as refused:
        read_array(path)
    run_suggested_command(str(refused.value))
    assert np.array_equal(read_array(path.with_suffix(".zip.pt")), LOSSES.numpy())


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
