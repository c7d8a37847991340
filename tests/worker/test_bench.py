"""The benchmark really trains with both engines."""

from __future__ import annotations

from worker import bench, recipes


def test_both_engines_are_timed() -> None:
    speeds = bench.compare("digits-mlp", recipes.load, 2, rounds=1)
    assert {engine: speed.models for engine, speed in speeds.items()} == {"batched": 12, "sequential": 2}
    assert all(speed.processor > 0 for speed in speeds.values())
    ratio = speeds["batched"].per_second / speeds["sequential"].per_second
    assert bench.table("digits-mlp", speeds).endswith(f"batched / one by one: {ratio:.1f}x")
