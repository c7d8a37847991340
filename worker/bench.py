"""How fast models train: every engine and a notebook's own loop, one process with one thread, taking turns in one run.

On a CPU speed is told by processor time, which a busy machine distorts least; on a GPU by wall time.

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
from worker.engines import ENGINES, fitting
from worker.models import Stackable
from worker.plan import Plan
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from worker.models import Recipe

NOTEBOOK = "notebook's loop"
GROUPS = {"batched": 6}
"""Groups of models that an engine trains in its turn, where one would be too short to time."""

PEAK_SIZE = 1024
"""Side of the square matrices whose product is the measured peak of a CPU; of a GPU it is eight times that."""

FEW = 8
"""Examples that operations are counted on."""


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
RECIPES = ("digits-mlp", "fashion5k-mlp")
"""What is timed when nothing is asked for: what one processor trains in minutes."""


@dataclass
class Speed:
    """Models trained, the wall and processor seconds that it took, and the seconds of each step."""

    models: float = 0
    wall: float = 0.0
    processor: float = 0.0
    steps: list[float] = field(default_factory=list)
    kind: str = device.CPU

    @property
    def per_second(self) -> float:
        """Models per second: of processor time on a CPU, of wall time on a GPU."""
        return self.models / (self.processor if self.kind == device.CPU else self.wall)


class Clocked:
    """A recipe that writes down when each step of an engine that reads its batches begins."""

    def __init__(self, recipe: Recipe, tick: Callable[[], None]) -> None:
        self._recipe = recipe
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def batches(self, order_Em: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield what the recipe yields, with a tick at each."""
        for batch in self._recipe.batches(order_Em):
            self._tick()
            yield batch
        self._tick()


class Contest:
    """All contenders with the same models of one recipe before them.

    Attributes
    ----------
    steps
        First steps of each model, timed alone; 0: all of them, and all that comes before and after.
    """

    def __init__(self, name: str, group: int | None = None, kind: str = device.CPU, steps: int | None = None) -> None:
        self.recipe = recipes.load(name)
        self.stackable = isinstance(self.recipe, Stackable)
        # One model with convolutions takes an hour of a CPU, and two at once are what there is to compare.
        self.group = group or max(self.recipe.GROUP, 2)
        self.steps = int(self.stackable and kind == device.CPU) if steps is None else steps
        plan = Plan(name, split="open", group=self.group, engine=self.recipe.ENGINE)
        self.trainer = Trainer(plan, self.recipe, data.load(self.recipe.DATASET), None, kind)
        self.kind = kind
        self.contenders = [*fitting(self.recipe), NOTEBOOK]

    def train(self, contender: str, groups: int = 1) -> Speed:
        """Let one train its groups of models, margins included, or their first steps."""
        K, ticks, trainer = self.group, list[float](), self.trainer

        def tick(*_: object) -> None:
            device.wait(trainer.place)
            ticks.append(time.perf_counter())

        trainer.engine = CONTENDERS[contender]
        # Whoever has an optimizer ticks by it; the batched engine has none, and reads the recipe's batches.
        trainer.recipe = Clocked(self.recipe, tick) if contender == "batched" else self.recipe
        if self.steps:
            models, order_KEm = trainer.begin(*trainer.drawn(range(K)))
            few_KEm = trainer.first_steps(order_KEm, self.steps)
        hook = register_optimizer_step_post_hook(tick)
        wall, processor = time.perf_counter(), time.process_time()
        try:
            if self.steps:
                tick()  # a first step has nothing before it
                trainer.engine(trainer.recipe, models, trainer.inputs_nd, trainer.labels_n, few_KEm)
                share = few_KEm.numel() / order_KEm.numel()
            else:
                share = groups
                for group in range(groups):
                    trainer.train_group(range(group * K, (group + 1) * K))
        finally:
            hook.remove()
        device.wait(trainer.place)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        return Speed(share * K, wall, processor, np.diff(ticks).tolist(), self.kind)

    def operations(self) -> float:
        """Return the floating-point operations of training one model: those of its products and convolutions, over all epochs."""
        (model, *_), order_KEm = self.trainer.begin(*self.trainer.drawn([0]))
        order_Em = order_KEm[0]
        few_Em = order_Em[:1, :FEW]
        with FlopCounterMode(display=False) as counter:
            self.recipe.train(model, self.trainer.inputs_nd, self.trainer.labels_n, few_Em)
        return float(counter.get_total_flops()) * len(order_Em) * order_Em.shape[1] / few_Em.shape[1]


def compare(contest: Contest, rounds: int) -> dict[str, Speed]:
    """Time all contenders in turns, so that a change in the machine's load meets each of them."""
    total = {contender: Speed(kind=contest.kind) for contender in contest.contenders}
    if not contest.steps or contest.kind == device.GPU:
        for contender in total:
            contest.train(contender)  # to warm up
    for _ in range(rounds):
        for contender, speed in total.items():
            found = contest.train(contender, GROUPS.get(contender, 1))
            speed.models += found.models
            speed.wall += found.wall
            speed.processor += found.processor
            speed.steps += found.steps
    return total


def peak(kind: str = device.CPU) -> float:
    """Return the operations per second of the best of ten large products: float32 on a CPU's one thread, bfloat16 on a GPU."""
    device.use_one_thread()
    size, dtype = (PEAK_SIZE, torch.float32) if kind == device.CPU else (8 * PEAK_SIZE, torch.bfloat16)
    clock = time.process_time if kind == device.CPU else time.perf_counter
    where = device.place(kind)
    a = torch.randn(size, size, device=where, dtype=dtype)
    best = math.inf
    for _ in range(10):
        device.wait(where)
        start = clock()
        torch.mm(a, a)
        device.wait(where)
        best = min(best, clock() - start)
    return 2 * size**3 / best


def table(contest: Contest, speeds: dict[str, Speed]) -> str:
    """Write the comparison as a Markdown table."""
    operations, most = contest.operations(), peak(contest.kind)
    rows = []
    for contender, speed in speeds.items():
        middle, late = np.percentile(speed.steps, (50, 95)) * 1000
        rows.append(
            f"| {contest.recipe.NAME}, {contender} | {speed.models:.4g} | {speed.wall:.2f} | {speed.processor:.2f} | "
            f"{speed.per_second:.3g} | {middle:.2f} / {late:.2f} | {operations * speed.per_second / most:.0%} |"
        )
    first, *others = speeds
    ratios = [f"{first} / {other}: {speeds[first].per_second / speeds[other].per_second:.1f}x" for other in others]
    second, number = ("CPU s", "float32") if contest.kind == device.CPU else ("s", "bfloat16")
    return "\n".join(
        [
            f"| training, one thread | models | wall s | CPU s | models per {second} | step ms, p50 / p95 | of the peak |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            *([f"Steps of each model that were run: {contest.steps}, without margins."] if contest.steps else []),
            f"Models per {second}, K = {contest.group}: {', '.join(ratios)}.",
            f"A step of an engine that trains models at once moves {contest.group}. {_memory(contest.kind)}",
            f"Peak of {number} products: {most / 1e9:.0f} GFLOP/s; one model takes {operations / 1e9:.2f} GFLOP.",
        ]
    )


def _memory(kind: str) -> str:
    if kind == device.CPU:
        return f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB."
    return f"Peak memory of {torch.cuda.get_device_name()}: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB."
