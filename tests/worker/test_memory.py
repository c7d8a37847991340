"""When memory runs out, training restarts with a smaller group, or reports the group size to use."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.worker import hungry
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker.campaign import Campaign
from worker.memory import OutOfMemory, is_out_of_memory, next_smaller_group
from worker.plan import Configuration
from worker.shards import Shard, read_shards
from worker.training import prepare_folder, train

if TYPE_CHECKING:
    from pathlib import Path

PLAN = replace(TINY, recipe="hungry", group=8)


def campaign(folder: Path, shards: str = "") -> Campaign:
    return Campaign(folder, hungry.load, partial(train, count=1), Console(file=io.StringIO()), 8, shards)


def margins(folder: Path) -> np.ndarray:
    shards = read_shards(folder / "shards", Configuration.read(folder).digest)
    return np.concatenate([shard.margins for shard in shards])


def console_text(campaign: Campaign) -> str:
    assert isinstance(campaign.console.file, io.StringIO)
    return campaign.console.file.getvalue()


@pytest.mark.usefixtures("train_in_process")
def test_training_without_shards_restarts_with_smaller_group(tmp_path: Path) -> None:
    restarted = campaign(tmp_path)
    assert restarted.train(PLAN, HIDDEN_SEED).missing == set()
    assert "8 models at once (K) need more memory than is available: " in console_text(restarted)
    assert "trying again with 4 models at once." in console_text(restarted)
    assert "trying again with 2 models at once." in console_text(restarted)
    kept = Configuration.read(tmp_path)
    assert kept.plan == replace(PLAN, group=2)
    # Training with a group of two from the start gives the same margins without a restart.
    direct = campaign(tmp_path / "straight")
    direct.train(kept.plan, HIDDEN_SEED)
    assert "again" not in console_text(direct)
    np.testing.assert_array_equal(margins(tmp_path), margins(direct.folder))


@pytest.mark.usefixtures("train_in_process")
def test_training_with_shards_stops_and_names_smaller_group(tmp_path: Path) -> None:
    _, configuration = prepare_folder(PLAN, tmp_path, hungry.load, HIDDEN_SEED)
    models = np.array(PLAN.models[:8])  # as if trained earlier with more memory
    shard = Shard(0, 8, models, np.ones((8, 597), np.float32), np.ones(8), np.ones(8), 1.0)
    shard.write(tmp_path / "shards", configuration.digest)
    with pytest.raises(OutOfMemory, match=r"8 models at once \(K\) need more memory") as shortage:
        campaign(tmp_path).train(PLAN, HIDDEN_SEED)
    assert shortage.value.smaller_group == 4
    assert Configuration.read(tmp_path).plan == PLAN


def test_training_of_some_shards_stops_and_keeps_plan(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory):
        campaign(tmp_path, shards="0-0").train(PLAN, HIDDEN_SEED)
    assert Configuration.read(tmp_path).plan == PLAN


@pytest.mark.parametrize(("group", "fewer"), [(10, 5), (5, 1), (12, 6), (9, 3), (2, 1), (1, None)])
def test_smaller_group_is_a_divisor(group: int, fewer: int | None) -> None:
    assert next_smaller_group(group) == fewer


@pytest.mark.parametrize("allocate", [lambda: torch.empty(2**58), lambda: np.empty(2**58), lambda: bytearray(2**58)])
def test_is_exhausted_recognises_every_kind_of_failed_allocation(allocate: object) -> None:
    assert callable(allocate)
    with pytest.raises((MemoryError, RuntimeError)) as error:
        allocate()
    assert is_out_of_memory(error.value)


def test_is_exhausted_ignores_other_errors() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(error.value)
