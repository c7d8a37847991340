"""How fast models train: every engine and a notebook's own loop, one process with one thread, taking turns in one run.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs.
"""

from __future__ import annotations

import math
import resource
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from worker import data, device, recipes
from worker.engines import ENGINES
from worker.plan import Plan
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from worker.models import Recipe

NOTEBOOK = "notebook's loop"
GROUPS = {"batched": 6}
"""Groups of models that an engine trains in its turn, where one would be too short to time."""

PEAK_SIZE = 1024
"""Side of the square matrices whose product is the device's measured peak."""


def train_as_a_notebook(
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train models one by one as the notebooks of the field do: a DataLoader over a subset, one example at a time."""
    settings = recipe.SETTINGS
    for model, order_Em in zip(models, order_KEm, strict=True):
        examples_m = order_Em[0].view(order_Em.shape[1], -1)[:, 0]  # an augmenting recipe says more of each visit
        subset = Subset(TensorDataset(inputs_nd, labels_n), examples_m.tolist())
        loader = DataLoader(subset, batch_size=settings.batch_size, shuffle=True)
        epochs = len(order_Em)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
        for _ in range(epochs):
            for inputs, labels in loader:
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()


CONTENDERS = ENGINES | {NOTEBOOK: train_as_a_notebook}


@dataclass
class Speed:
    """Models trained, the wall and processor seconds that it took, and the seconds of each step."""

    models: int = 0
    wall: float = 0.0
    processor: float = 0.0
    steps: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Models per processor second: what a busy machine distorts least."""
        return self.models / self.processor


class Clocked:
    """A recipe that writes down when each step of an engine that reads its batches begins."""

    def __init__(self, recipe: Recipe, ticks: list[float]) -> None:
        self._recipe = recipe
        self._ticks = ticks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def batches(self, order_Em: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield what the recipe yields, with a tick at each."""
        for batch in self._recipe.batches(order_Em):
            self._ticks.append(time.perf_counter())
            yield batch
        self._ticks.append(time.perf_counter())


class Contest:
    """All contenders with the same models of one recipe before them."""

    def __init__(self, name: str, group: int) -> None:
        self.recipe = recipes.load(name)
        self.trainer = Trainer(Plan(name, split="open", group=group), self.recipe, data.load(self.recipe.DATASET), None)

    def train(self, contender: str, groups: int = 1) -> Speed:
        """Let one train its groups of models, margins included."""
        K, ticks = self.trainer.plan.group, list[float]()
        self.trainer.engine = CONTENDERS[contender]
        self.trainer.recipe = Clocked(self.recipe, ticks)
        # Who has an optimizer, and no batches of the recipe's, ticks by it.
        hook = register_optimizer_step_post_hook(lambda *_: ticks.append(time.perf_counter()))
        wall, processor = time.perf_counter(), time.process_time()
        try:
            for group in range(groups):
                self.trainer.train_group(range(group * K, (group + 1) * K))
        finally:
            hook.remove()
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        return Speed(groups * K, wall, processor, np.diff(ticks).tolist())

    def operations(self) -> float:
        """Return the floating-point operations of training one model: those of its products and convolutions, over all epochs."""
        trainer = self.trainer
        model, examples = self.recipe.build(), np.flatnonzero(trainer.masks["public"][0])
        order_Em = trainer.order((0, 0, 0), examples)
        with FlopCounterMode(display=False) as counter:
            self.recipe.train(model, trainer.inputs_nd, trainer.labels_n, order_Em[:1])
        return float(counter.get_total_flops()) * len(order_Em)


def compare(name: str, group: int, rounds: int) -> dict[str, Speed]:
    """Time all contenders in turns, so that a change in the machine's load meets each of them."""
    contest = Contest(name, group)
    total = {contender: Speed() for contender in CONTENDERS}
    for contender in CONTENDERS:
        contest.train(contender)  # to warm up
    for _ in range(rounds):
        for contender, speed in total.items():
            found = contest.train(contender, GROUPS.get(contender, 1))
            speed.models += found.models
            speed.wall += found.wall
            speed.processor += found.processor
            speed.steps += found.steps
    return total


def peak() -> float:
    """Return the operations per processor second of the best of ten large float32 products."""
    device.use_one_thread()
    a = torch.randn(PEAK_SIZE, PEAK_SIZE)
    best = math.inf
    for _ in range(10):
        start = time.process_time()
        torch.mm(a, a)
        best = min(best, time.process_time() - start)
    return 2 * PEAK_SIZE**3 / best


def table(name: str, group: int, speeds: dict[str, Speed]) -> str:
    """Write the comparison as a Markdown table."""
    operations, most = Contest(name, group).operations(), peak()
    rows = []
    for contender, speed in speeds.items():
        middle, late = np.percentile(speed.steps, (50, 95)) * 1000
        rows.append(
            f"| {name}, {contender} | {speed.models} | {speed.wall:.2f} | {speed.processor:.2f} | {speed.per_second:.1f} | "
            f"{middle:.2f} / {late:.2f} | {operations * speed.per_second / most:.0%} |"
        )
    first = speeds["batched"].per_second
    ratios = [f"batched / {other}: {first / speeds[other].per_second:.1f}x" for other in ("sequential", NOTEBOOK)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join(
        [
            "| training, one thread | models | wall s | CPU s | models per CPU s | step ms, p50 / p95 | of the peak |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Models per CPU second, K = {group}: {', '.join(ratios)}.",
            f"A step of the batched engine moves {group} models. Peak memory of the process: {memory:.0f} MiB.",
            f"Peak of float32 products: {most / 1e9:.0f} GFLOP/s; one model takes {operations / 1e9:.2f} GFLOP.",
        ]
    )
