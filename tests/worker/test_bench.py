"""The training benchmark runs every contender and reports plausible times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ldsboard.retraining.retrainer import Retrainer
from worker import bench, bench_removals, data, recipes

if TYPE_CHECKING:
    from ldsboard.counterfactual.falls import Outputs
    from ldsboard.retraining.retrainer import Removal


def test_compare_times_all_contenders() -> None:
    contest = bench.Setup("digits-mlp", 2)
    speeds = bench.compare(contest, rounds=1)
    models = {contender: speed.models for contender, speed in speeds.items()}
    assert models == {"batched": 12, "sequential": 2, bench.NOTEBOOK: 2}
    for contender, speed in speeds.items():
        assert 0 < sum(speed.steps) < speed.wall
        assert len(speed.steps) > 12 * 12 * (speed.models if contender != "batched" else 6) - 10
    text = bench.table(contest, speeds)
    ratio = speeds["batched"].per_second / speeds["sequential"].per_second
    assert f"batched / sequential: {ratio:.1f}x" in text
    assert f"| digits-mlp, {bench.NOTEBOOK} | 2 |" in text


def test_compare_times_only_first_steps_with_steps_option() -> None:
    contest = bench.Setup("digits-mlp", 2, steps=3)
    speeds = bench.compare(contest, rounds=1)
    assert {contender: len(speed.steps) for contender, speed in speeds.items()} == {
        "batched": 4,  # intervals of 5 times: the start, before each step, after the last step
        "sequential": 6,
        bench.NOTEBOOK: 6,
    }
    share = 2 * 3 * 50 / (12 * 600)  # two models, 150 of 7,200 visits
    assert [speed.models for speed in speeds.values()] == pytest.approx([share] * 3)
    assert "Timed steps of each model: 3, without margins." in bench.table(contest, speeds)


def test_operations_equal_sum_over_layers() -> None:
    forward, gradient, passed = 64 * 128 + 128 * 10, 64 * 128 + 128 * 10, 128 * 10
    expected = 2 * (forward + gradient + passed) * 600 * 12
    assert bench.Setup("digits-mlp", 2).operations() == pytest.approx(expected, rel=0.01)


def test_peak_is_plausible_and_leaves_one_thread() -> None:
    assert 1e8 < bench.peak() < 1e13
    assert torch.get_num_threads() == 1


def test_retraining_in_groups_and_one_by_one_gives_equal_models_and_plausible_speeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[bool, list[Outputs]] = {True: [], False: []}
    retrain = Retrainer.retrain

    def recorded(self: Retrainer, removals: list[Removal]) -> Outputs:
        outputs = retrain(self, removals)
        found[len(removals) > 1].append(outputs)
        return outputs

    monkeypatch.setattr(Retrainer, "retrain", recorded)
    monkeypatch.setattr(bench_removals, "MODELS_ALONE", 2)
    monkeypatch.setitem(bench.GROUPS_TIMED, "batched", 1)
    recipe = recipes.load("digits-mlp")
    start = time.process_time()
    speeds = bench_removals.compare_retraining(recipe, data.load(recipe.DATASET), rounds=1)
    taken = time.process_time() - start
    assert {kind: len(outputs) for kind, outputs in found.items()} == {True: 2, False: 4}
    grouped, alone = (np.concatenate([each.margins for each in found[kind]]) for kind in (True, False))
    np.testing.assert_allclose(grouped[:2], alone[:2], atol=0.05)
    assert 20 / speeds["in groups"] + 2 / speeds["one by one"] < taken
    text = bench_removals.retraining_table(recipe, {"in groups": 50.0, "one by one": 5.0}, 597)
    assert "in groups / one by one, K = 20: 10.0x." in text
    assert "100 targets without 1 %: 300 models, 6 CPU s; all 597 targets, five sizes: 8,955 models, 179 CPU s." in text
