"""Time alternative functions in turns, in wall and processor seconds, so that a busy machine slows all of them equally."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


SETTLE_SECONDS = 0.1
"""Seconds to wait before each measurement: after a product, OpenBLAS's threads keep a processor busy for some 60 ms."""


@dataclass
class Timing:
    """Wall and processor seconds of the round with the least wall time."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def measure(self, work: Callable[[], object]) -> None:
        """Run `work` once, and keep its time if it is the best so far. `work` may return processor seconds of another process."""
        time.sleep(SETTLE_SECONDS)
        wall, cpu = time.perf_counter(), time.process_time()
        elsewhere = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if isinstance(elsewhere, float):
            cpu = elsewhere
        if wall < self.wall:
            self.wall, self.cpu = wall, cpu

    def scaled(self, factor: float) -> Timing:
        """Return this timing multiplied by `factor`."""
        return Timing(self.wall * factor, self.cpu * factor)

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time every function once a round, after one uncounted round; return the best timing of each."""
    timings = {name: Timing() for name in ways}
    for work in ways.values():
        work()
    for _ in range(rounds):
        for name, work in ways.items():
            timings[name].measure(work)
    return timings
