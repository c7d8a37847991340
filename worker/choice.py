"""Choose the fastest engine and group size (K) for a recipe on this device, by timing a few steps before training."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES, engines_for
from worker.memory import OutOfMemory, is_out_of_memory
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset
    from worker.plan import Plan

AUTO = "auto"
"""Value of ``--engine`` that requests the fastest engine."""

GROUPS = {"sequential": (1,), "batched": (5, 10, 20, 50, 100), "vmapped": (2, 4, 8, 16, 32)}
"""Group sizes (K) to try with each engine."""

STEPS = 4
"""Number of steps that are timed, after the same number of warm-up steps."""


class Candidate(NamedTuple):
    """An engine, a group size K, and the seconds of one step divided by K. `seconds` is None if memory ran out."""

    engine: str
    group: int
    seconds: float | None

    def __str__(self) -> str:
        took = (
            "not enough memory" if self.seconds is None else f"{self.seconds * 1000:.2f} ms for one step of one model"
        )
        return f"{self.engine}, K = {self.group}: {took}"


def candidates(plan: Plan, recipe: Recipe, data: Dataset, kind: str, group: int | None = None) -> Iterator[Candidate]:
    """Time some training steps of every engine for the recipe; yield each engine with each group size and the measured time.

    The group sizes are those in `GROUPS`, or only `group` if `group` is given. If memory runs out for a group size, the larger
    sizes of this engine are not tried. The plan is treated as that of an open benchmark: all subsets are drawn from the public
    seed, so that no hidden seed is needed.
    """
    trainer = Trainer(replace(plan, split="open"), recipe, data, None, kind)
    for engine in engines_for(recipe):
        for K in GROUPS[engine] if group is None else (group,):
            seconds = _time_step(trainer, engine, K)
            yield Candidate(engine, K, seconds)
            if seconds is None:
                break  # larger groups need more memory
    del trainer
    device.release_gpu_memory()


def fastest(tried: list[Candidate]) -> Candidate:
    """Return the candidate that needs the least time for one step of one model.

    Raises
    ------
    OutOfMemory
        Memory ran out for every candidate.
    """
    possible = [(candidate.seconds, candidate) for candidate in tried if candidate.seconds is not None]
    if not possible:
        raise OutOfMemory(min(candidate.group for candidate in tried), "every engine ran out of memory")
    return min(possible)[1]


def _time_step(trainer: Trainer, engine: str, K: int) -> float | None:
    seeds, examples = trainer.seeds_and_subsets([k % len(trainer.models) for k in range(K)])
    try:
        models, order_KEm = trainer.initialise_models(seeds, examples)
        few_KEm = trainer.first_steps(order_KEm, STEPS)
        steps = sum(1 for _ in trainer.recipe.batches(few_KEm))
        for _ in range(2):  # the first pass is the warm-up, the second is timed
            device.synchronize(trainer.torch_device)
            start = time.perf_counter()
            ENGINES[engine](trainer.recipe, models, trainer.inputs_nd, trainer.labels_n, few_KEm)
            device.synchronize(trainer.torch_device)
            seconds = time.perf_counter() - start
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return seconds / (K * steps)
