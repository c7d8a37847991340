"""Time alternative functions in turns, in wall and processor seconds, so that a busy machine slows all of them equally."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


SETTLE_SECONDS = 0.1
"""Seconds to wait before each measurement: after a product, OpenBLAS's threads keep a processor busy for some 60 ms."""


@dataclass(frozen=True)
class Timing:
    """Wall and processor seconds."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, work: Callable[[], object]) -> Timing:
        """Run `work` once and return its time. `work` may return processor seconds of another process."""
        time.sleep(SETTLE_SECONDS)
        wall, cpu = time.perf_counter(), time.process_time()
        elsewhere = work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return cls(wall, elsewhere if isinstance(elsewhere, float) else cpu)

    @classmethod
    def median(cls, timings: Iterable[Timing]) -> Timing:
        """Return the medians of the wall seconds and of the processor seconds."""
        walls, cpus = zip(*((timing.wall, timing.cpu) for timing in timings), strict=True)
        return cls(median(walls), median(cpus))

    def scaled(self, factor: float) -> Timing:
        """Return this timing multiplied by `factor`."""
        return Timing(self.wall * factor, self.cpu * factor)

    def __add__(self, other: Timing) -> Timing:
        return Timing(self.wall + other.wall, self.cpu + other.cpu)


def take_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time every function once a round, after one uncounted round; return for each the medians of its times."""
    for work in ways.values():
        work()
    taken: dict[str, list[Timing]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            taken[name].append(Timing.of(work))
    return {name: Timing.median(times) for name, times in taken.items()}
