"""Choosing the engine: candidates are timed, the fastest is used, and the training folder records it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from ldsboard.retraining import device
from ldsboard.retraining.engines import engines_for
from tests.worker import hungry
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker.choice import STEPS, Candidate, candidates, fastest
from worker.data import digits
from worker.memory import OutOfMemory
from worker.plan import Configuration
from worker.recipes import cifar10_5k_resnet9, digits_mlp

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

OPTIONS = ("--public", "4", "--hidden", "6", "--hidden-seed", HIDDEN_SEED, "--device", "cpu")


def test_fitting_lists_engines_that_can_train_recipe() -> None:
    assert engines_for(digits_mlp) == ["batched", "sequential"]
    assert engines_for(cifar10_5k_resnet9) == ["sequential", "vmapped"]


def test_candidates_try_every_engine_with_several_group_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr("worker.choice.time.perf_counter", lambda: float(next(ticks)))  # each trial takes one second
    tried = list(candidates(TINY, digits_mlp, digits(), device.CPU))
    assert [(each.engine, each.group) for each in tried] == [
        *[("batched", K) for K in (5, 10, 20, 50, 100)],
        ("sequential", 1),
    ]
    assert [each.seconds for each in tried] == [
        1 / (each.group * STEPS) for each in tried
    ]  # seconds for one step of one model


def test_fastest_has_least_time_per_step_of_one_model() -> None:
    tried = [Candidate("batched", 5, 0.03), Candidate("batched", 10, 0.02), Candidate("batched", 20, None)]
    assert fastest(tried) == Candidate("batched", 10, 0.02)
    assert fastest([*tried, Candidate("sequential", 1, 0.01)]) == Candidate("sequential", 1, 0.01)


def test_candidate_states_its_time_per_step_of_one_model() -> None:
    assert str(Candidate("batched", 5, 0.0301)) == "batched, K = 5: 30.10 ms for one step of one model"
    assert str(Candidate("batched", 20, None)) == "batched, K = 20: not enough memory"


def test_candidates_try_only_given_group_size() -> None:
    assert {each.group for each in candidates(TINY, digits_mlp, digits(), device.CPU, group=3)} == {3}


def test_fastest_skips_candidates_that_exceed_memory() -> None:
    tried = list(candidates(replace(TINY, recipe="hungry"), hungry.load(""), digits(), device.CPU))
    assert [(each.engine, each.group, each.seconds is None) for each in tried] == [
        ("batched", 5, True),  # larger groups are not tried
        ("sequential", 1, False),
    ]
    assert fastest(tried).engine == "sequential"
    assert str(tried[0]) == "batched, K = 5: not enough memory"
    with pytest.raises(OutOfMemory, match="2 models at once \\(K\\) need more memory than is available"):
        fastest([Candidate("vmapped", 2, None)])


def test_train_reports_chosen_engine_and_keeps_it_for_later_shards(
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
