"""The training benchmark runs every contender and reports plausible times."""

from __future__ import annotations

import pytest
import torch

from worker import bench


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
