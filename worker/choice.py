"""Which engine trains a recipe fastest on this device, and how many models at once: tried before anything is trained."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from worker import device
from worker.engines import ENGINES, fitting
from worker.memory import OutOfMemory, is_exhausted
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.data import Dataset
    from worker.models import Recipe
    from worker.plan import Plan

AUTO = "auto"
"""What is given for an engine to have it chosen."""

GROUPS = {"sequential": (1,), "batched": (5, 10, 20, 50, 100), "vmapped": (2, 4, 8, 16, 32)}
"""How many models at once are tried with each engine."""

STEPS = 4
"""Steps that are timed, after as many to warm up."""


class Candidate(NamedTuple):
    """An engine, how many models it trains at once (K), and the seconds that one step of one of them takes; None: no room."""

    engine: str
    group: int
    seconds: float | None

    def __str__(self) -> str:
        took = "needs more memory than there is" if self.seconds is None else f"{self.seconds * 1000:.2f} ms a step"
        return f"{self.engine}, K = {self.group}: {took}"


def candidates(plan: Plan, recipe: Recipe, data: Dataset, kind: str, group: int | None = None) -> Iterator[Candidate]:
    """Yield every engine that can train a recipe with every number of models at once, or just this one, timed.

    The models are the first of the plan's public part, so that nothing is drawn from a hidden seed.
    """
    trainer = Trainer(replace(plan, split="open"), recipe, data, None, kind)
    for engine in fitting(recipe):
        for K in GROUPS[engine] if group is None else (group,):
            seconds = _timed(trainer, engine, K)
            yield Candidate(engine, K, seconds)
            if seconds is None:
                break  # more need more
    del trainer
    device.release()


def fastest(tried: list[Candidate]) -> Candidate:
    """Return the candidate whose models take the least time each.

    Raises
    ------
    OutOfMemory
        There was room for none.
    """
    possible = [(candidate.seconds, candidate) for candidate in tried if candidate.seconds is not None]
    if not possible:
        raise OutOfMemory(min(candidate.group for candidate in tried), "no engine had room for them")
    return min(possible)[1]


def _timed(trainer: Trainer, engine: str, K: int) -> float | None:
    seeds, examples = trainer.drawn([k % len(trainer.models) for k in range(K)])
    try:
        models, order_KEm = trainer.begin(seeds, examples)
        few_KEm = trainer.first_steps(order_KEm, STEPS)
        steps = sum(1 for _ in trainer.recipe.batches(few_KEm))
        for _ in range(2):  # the first to warm up
            device.wait(trainer.place)
            start = time.perf_counter()
            ENGINES[engine](trainer.recipe, models, trainer.inputs_nd, trainer.labels_n, few_KEm)
            device.wait(trainer.place)
            seconds = time.perf_counter() - start
    except (MemoryError, RuntimeError) as error:
        if not is_exhausted(error):
            raise
        return None
    return seconds / (K * steps)
