"""The engine that is chosen is the fastest of those that were tried, and the folder keeps it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.worker import hungry
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker import device
from worker.choice import STEPS, Candidate, candidates, fastest
from worker.data import digits
from worker.engines import engines_for
from worker.memory import OutOfMemory
from worker.plan import Configuration
from worker.recipes import cifar10_5k_resnet9, digits_mlp

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

OPTIONS = ("--public", "4", "--hidden", "6", "--hidden-seed", HIDDEN_SEED, "--device", "cpu")


def test_engines_that_can_train_a_recipe() -> None:
    assert engines_for(digits_mlp) == ["batched", "sequential"]
    assert engines_for(cifar10_5k_resnet9) == ["sequential", "vmapped"]


def test_every_engine_is_tried_with_several_numbers_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(
        "worker.choice.time.perf_counter", lambda: float(next(ticks))
    )  # so that each trial takes a second
    tried = list(candidates(TINY, digits_mlp, digits(), device.CPU))
    assert [(each.engine, each.group) for each in tried] == [
        *[("batched", K) for K in (5, 10, 20, 50, 100)],
        ("sequential", 1),
    ]
    assert [each.seconds for each in tried] == [1 / (each.group * STEPS) for each in tried]  # for one step of one model


def test_the_fastest_takes_the_least_time_for_a_step_of_one_model() -> None:
    tried = [Candidate("batched", 5, 0.03), Candidate("batched", 10, 0.02), Candidate("batched", 20, None)]
    assert fastest(tried) == Candidate("batched", 10, 0.02)
    assert fastest([*tried, Candidate("sequential", 1, 0.01)]) == Candidate("sequential", 1, 0.01)


def test_one_number_of_models_is_tried_when_it_is_given() -> None:
    assert {each.group for each in candidates(TINY, digits_mlp, digits(), device.CPU, group=3)} == {3}


def test_what_has_no_room_is_not_chosen() -> None:
    tried = list(candidates(replace(TINY, recipe="hungry"), hungry.load(""), digits(), device.CPU))
    assert [(each.engine, each.group, each.seconds is None) for each in tried] == [
        ("batched", 5, True),  # and no more than that is tried
        ("sequential", 1, False),
    ]
    assert fastest(tried).engine == "sequential"
    assert str(tried[0]) == "batched, K = 5: not enough memory"
    with pytest.raises(OutOfMemory, match="2 models at once \\(K\\) need more memory than is available"):
        fastest([Candidate("vmapped", 2, None)])


def test_the_choice_is_told_and_kept_for_every_later_shard(
    tmp_path: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run = worker("train", "digits-mlp", "--out", tmp_path, *OPTIONS, "--engine", "auto", "--shards", "0-0")
    assert run.returncode == 0, run.stderr
    found = re.search(r"The fastest is (\w+), K = (\d+)\.", run.stderr)
    assert found is not None
    kept = Configuration.read(tmp_path).plan
    assert (kept.engine, str(kept.group)) == found.groups()
    again = worker("train", "digits-mlp", "--out", tmp_path, *OPTIONS, "--engine", "auto")
    assert again.returncode == 0, again.stderr
    assert "The fastest is" not in again.stderr
    assert Configuration.read(tmp_path).plan == kept
