"""Compare the speed of the engines with the speed of a plain training loop, such as many notebooks contain.

The engines and the loop train in turns, in one process with one thread.
On a CPU, speed is measured in processor time, which other processes distort least; on a GPU, in wall time.

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

from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES, engines_for
from ldsboard.retraining.recipe import Stackable
from worker import data, recipes
from worker.plan import Plan
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from ldsboard.retraining.recipe import Recipe

NOTEBOOK = "notebook's loop"
GROUPS_TIMED = {"batched": 6}
"""Number of groups in one turn, for engines that train a single group too fast for a reliable time; other engines: 1."""

PEAK_SIZE = 1024
"""Number of rows of the square matrices whose product measures the peak speed of a CPU; 8 times as many for a GPU."""

COUNTED_EXAMPLES = 8
"""Number of examples whose training is used to count floating-point operations."""


def train_like_a_notebook(
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train models one by one like a typical notebook: a DataLoader over a Subset, which loads single examples.

    Of `order_KEm`, only the set of examples of each model and the number of epochs are used. Examples are shuffled anew in each
    epoch, and are not augmented.
    """
    settings = recipe.SETTINGS
    for model, order_Em in zip(models, order_KEm, strict=True):
        examples_m = order_Em[0].view(order_Em.shape[1], -1)[:, 0]  # the indices of the visits, without augmentation
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


LOOPS = ENGINES | {NOTEBOOK: train_like_a_notebook}
RECIPES = ("digits-mlp", "fashion5k-mlp")
"""Recipes that are timed by default: one processor trains them in minutes."""


@dataclass
class Speed:
    """Number of trained models, wall time and processor time of their training, and time of each step; times in seconds.

    If only the first steps of a training were timed, `models` counts the trained fraction of each model.
    """

    models: float = 0
    wall: float = 0.0
    processor: float = 0.0
    steps: list[float] = field(default_factory=list)
    kind: str = device.CPU

    @property
    def per_second(self) -> float:
        """Number of models per second: on a CPU per second of processor time, on a GPU per second of wall time."""
        return self.models / (self.processor if self.kind == device.CPU else self.wall)


class TimedRecipe:
    """A recipe that calls `tick` before each batch and after the last, to time the steps of the batched engine.

    A hook of the optimizer times the steps of the other training loops, but the batched engine has no optimizer.
    """

    def __init__(self, recipe: Recipe, tick: Callable[[], None]) -> None:
        self._recipe = recipe
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recipe, name)

    def batches(self, order_Em: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield the batches of the recipe; call `tick` before each batch and after the last."""
        for batch in self._recipe.batches(order_Em):
            self._tick()
            yield batch
        self._tick()


class Setup:
    """A recipe, and the training loops to compare; each loop trains the models 0, 1, … of an open benchmark with the recipe.

    Attributes
    ----------
    steps
        How many steps of each model to time, counted from its first step; initialisation and margins are not timed. If `steps`
        is 0, whole trainings are timed, including initialisation and margins. By default, `steps` is 1 for a `Stackable` recipe
        on a CPU, and otherwise 0.
    """

    def __init__(self, name: str, group: int | None = None, kind: str = device.CPU, steps: int | None = None) -> None:
        self.recipe = recipes.load(name)
        self.stackable = isinstance(self.recipe, Stackable)
        # Comparing engines needs at least two models at once. On a CPU, a convolutional model takes an hour: time only one step.
        self.group = group or max(self.recipe.GROUP, 2)
        self.steps = int(self.stackable and kind == device.CPU) if steps is None else steps
        plan = Plan(name, split="open", group=self.group, engine=self.recipe.ENGINE)
        self.trainer = Trainer(plan, self.recipe, data.load(self.recipe.DATASET), None, kind)
        self.kind = kind
        self.loops = [*engines_for(self.recipe), NOTEBOOK]

    def train(self, loop: str, groups: int = 1) -> Speed:
        """Train with one of the training loops, and return its speed.

        If `steps` is 0, the loop trains `groups` whole groups. Otherwise it trains one group for `steps` steps.
        """
        K, ticks, trainer = self.group, list[float](), self.trainer

        def tick(*_: object) -> None:
            device.synchronize(trainer.torch_device)
            ticks.append(time.perf_counter())

        trainer.engine = LOOPS[loop]
        # A hook of the optimizer ticks after each step. The batched engine has no optimizer, so a `TimedRecipe` ticks instead.
        trainer.recipe = TimedRecipe(self.recipe, tick) if loop == "batched" else self.recipe
        if self.steps:
            models, order_KEm = trainer.initialise_models(*trainer.seeds_and_subsets(range(K)))
            few_KEm = trainer.first_steps(order_KEm, self.steps)
        hook = register_optimizer_step_post_hook(tick)
        wall, processor = time.perf_counter(), time.process_time()
        try:
            if self.steps:
                tick()  # start of the first step
                trainer.engine(trainer.recipe, models, trainer.inputs_nd, trainer.labels_n, few_KEm)
                share = few_KEm.numel() / order_KEm.numel()
            else:
                share = groups
                for group in range(groups):
                    trainer.train_group(range(group * K, (group + 1) * K))
        finally:
            hook.remove()
        device.synchronize(trainer.torch_device)
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        return Speed(share * K, wall, processor, np.diff(ticks).tolist(), self.kind)

    def operations(self) -> float:
        """Count the floating-point operations of the matrix products and convolutions in the training of one model.

        The operations are counted while a model trains on `COUNTED_EXAMPLES` examples, and scaled to the whole training.
        """
        (model, *_), order_KEm = self.trainer.initialise_models(*self.trainer.seeds_and_subsets([0]))
        order_Em = order_KEm[0]
        few_Em = order_Em[:1, :COUNTED_EXAMPLES]
        with FlopCounterMode(display=False) as counter:
            self.recipe.train(model, self.trainer.inputs_nd, self.trainer.labels_n, few_Em)
        return float(counter.get_total_flops()) * len(order_Em) * order_Em.shape[1] / few_Em.shape[1]


def compare(setup: Setup, rounds: int) -> dict[str, Speed]:
    """Time every training loop once in each of `rounds` rounds; return each loop's speed over all rounds, by the loop's name.

    The loops take turns, so that changes of the machine's load affect all loops. If whole trainings are timed, and always on a
    GPU, each loop trains once more before the first round, without being timed.
    """
    total = {loop: Speed(kind=setup.kind) for loop in setup.loops}
    if not setup.steps or setup.kind == device.GPU:
        for loop in total:
            setup.train(loop)  # to warm up
    for _ in range(rounds):
        for loop, speed in total.items():
            found = setup.train(loop, GROUPS_TIMED.get(loop, 1))
            speed.models += found.models
            speed.wall += found.wall
            speed.processor += found.processor
            speed.steps += found.steps
    return total


def peak(kind: str = device.CPU) -> float:
    """Time ten large matrix products; return the operations per second of the fastest product.

    On a CPU, the products are float32 on one thread; on a GPU, they are bfloat16.
    """
    device.use_one_thread()
    size, dtype = (PEAK_SIZE, torch.float32) if kind == device.CPU else (8 * PEAK_SIZE, torch.bfloat16)
    clock = time.process_time if kind == device.CPU else time.perf_counter
    where = device.torch_device(kind)
    a = torch.randn(size, size, device=where, dtype=dtype)
    best = math.inf
    for _ in range(10):
        device.synchronize(where)
        start = clock()
        torch.mm(a, a)
        device.synchronize(where)
        best = min(best, clock() - start)
    return 2 * size**3 / best


def table(setup: Setup, speeds: dict[str, Speed]) -> str:
    """Return a Markdown table of the speeds that `compare` measured, followed by notes on ratios, memory and peak speed.

    This function itself measures the peak speed with `peak`, and trains one model on a few examples to count operations.
    """
    operations, peak_speed = setup.operations(), peak(setup.kind)
    rows = []
    for loop, speed in speeds.items():
        median, p95 = np.percentile(speed.steps, (50, 95)) * 1000
        rows.append(
            f"| {setup.recipe.NAME}, {loop} | {speed.models:.4g} | {speed.wall:.2f} | {speed.processor:.2f} | "
            f"{speed.per_second:.3g} | {median:.2f} / {p95:.2f} | {operations * speed.per_second / peak_speed:.0%} |"
        )
    first, *others = speeds
    ratios = [f"{first} / {other}: {speeds[first].per_second / speeds[other].per_second:.1f}x" for other in others]
    second, number = ("CPU s", "float32") if setup.kind == device.CPU else ("s", "bfloat16")
    return "\n".join(
        [
            f"| training, one thread | models | wall s | CPU s | models per {second} | step ms, p50 / p95 | of the peak |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            *([f"Timed steps of each model: {setup.steps}, without margins."] if setup.steps else []),
            f"Models per {second}, K = {setup.group}: {', '.join(ratios)}.",
            f"One step of the batched or vmapped engine updates {setup.group} models. {_peak_memory(setup.kind)}",
            f"Peak of {number} products: {peak_speed / 1e9:.0f} GFLOP/s; one model takes {operations / 1e9:.2f} GFLOP.",
        ]
    )


def _peak_memory(kind: str) -> str:
    if kind == device.CPU:
        return f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB."
    return f"Peak memory of {torch.cuda.get_device_name()}: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB."
