"""How fast models train: the batched engine beside one-by-one training, one process with one thread each, in one run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker import device
from worker.data import DATASETS
from worker.plan import Plan
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.models import Recipe


@dataclass(frozen=True)
class Speed:
    """Models trained, and the wall and processor seconds that it took."""

    models: int
    wall: float
    processor: float

    def __add__(self, other: Speed) -> Speed:
        return Speed(self.models + other.models, self.wall + other.wall, self.processor + other.processor)

    @property
    def per_second(self) -> float:
        """Models per processor second: what a busy machine distorts least."""
        return self.models / self.processor


def measure(trainer: Trainer, groups: int) -> Speed:
    """Time the training of some groups of models, margins included, after one group to warm up."""
    K = trainer.plan.group
    trainer.train_group(range(K))
    wall, processor = time.perf_counter(), time.process_time()
    for group in range(groups):
        trainer.train_group(range(group * K, (group + 1) * K))
    return Speed(groups * K, time.perf_counter() - wall, time.process_time() - processor)


def compare(name: str, load: Callable[[str], Recipe], group: int, rounds: int) -> dict[str, Speed]:
    """Time both engines, in turns, so that a change in the machine's load meets both."""
    device.use_one_thread()
    recipe = load(name)
    data = DATASETS[recipe.DATASET]()
    trainers = {
        engine: Trainer(Plan(name, split="open", group=group, engine=engine), recipe, data, None)
        for engine in ("batched", "sequential")
    }
    # The reference is slow: it gets a group for every six of the batched engine.
    groups = {"batched": 6, "sequential": 1}
    total = {engine: Speed(0, 0.0, 0.0) for engine in trainers}
    for _ in range(rounds):
        for engine, trainer in trainers.items():
            speed = measure(trainer, groups[engine])
            total[engine] += speed
    return total


def table(name: str, speeds: dict[str, Speed]) -> str:
    """Write the comparison as a Markdown table."""
    rows = [
        f"| {name}, {engine} | {speed.models} | {speed.wall:.2f} | {speed.processor:.2f} | {speed.per_second:.1f} |"
        for engine, speed in speeds.items()
    ]
    ratio = speeds["batched"].per_second / speeds["sequential"].per_second
    return "\n".join(
        [
            "| training, one thread | models | wall s | CPU s | models per CPU s |",
            "|---|---|---|---|---|",
            *rows,
            f"\nbatched / one by one: {ratio:.1f}x",
        ]
    )
