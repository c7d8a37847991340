"""Compare the speed of retraining in groups, as a counterfactual evaluation does, with retraining one model after the other.

The two take turns, in one process with one thread; speed is measured in processor time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.counterfactual.plan import FRACTIONS, HEADLINE, RUNS, TARGETS
from ldsboard.retraining.engines import ENGINES
from ldsboard.retraining.kit import Kit
from ldsboard.retraining.retrainer import Removal, Retrainer
from ldsboard.retraining.trainer import Examples
from worker.bench import GROUPS_TIMED
from worker.plan import recipe_file
from worker.same_steps import SEQUENTIAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset

GROUPED, ALONE = "in groups", "one by one"
MODELS_ALONE = 5
"""Number of models that are retrained one by one in each round, at most those of the groups."""


def compare_retraining(recipe: Recipe, dataset: Dataset, rounds: int) -> dict[str, float]:
    """Retrain models without a random hundredth of the examples; return models per second of processor time, by loop.

    A group has the recipe's ``GROUP`` models, trained by its ``ENGINE``; one by one, models are trained by the recipe itself.
    """
    train, target = (Examples(part.images, part.labels) for part in (dataset.train, dataset.target))
    retrainer = Retrainer(Kit(recipe.NAME, recipe_file(recipe), train, target, seed=0), RUNS)
    n, generator = len(train.labels), np.random.default_rng(0)
    groups = GROUPS_TIMED.get(recipe.ENGINE, 1)
    removals = [
        Removal(number % RUNS, generator.choice(n, round(HEADLINE * n), replace=False))
        for number in range(groups * recipe.GROUP)
    ]
    plans = {
        GROUPED: (
            recipe.ENGINE,
            [removals[first : first + recipe.GROUP] for first in range(0, len(removals), recipe.GROUP)],
        ),
        ALONE: (SEQUENTIAL, [[removal] for removal in removals[:MODELS_ALONE]]),
    }
    seconds = dict.fromkeys(plans, 0.0)
    for turn in range(rounds + 1):  # the first turn warms up
        for loop, (engine, work) in plans.items():
            retrainer.engine = ENGINES[engine]
            start = time.process_time()
            for group in work:
                retrainer.retrain(group)
            seconds[loop] += (time.process_time() - start) * (turn > 0)
    return {loop: rounds * sum(map(len, work)) / seconds[loop] for loop, (_, work) in plans.items()}


def retraining_table(recipe: Recipe, speeds: Mapping[str, float], targets: int) -> str:
    """Return a Markdown table of the speeds that `compare_retraining` measured, and what an evaluation takes at that speed."""
    rows = [f"| {recipe.NAME}, retrained {loop} | {speed:.3g} |" for loop, speed in speeds.items()]
    sizes = {
        (TARGETS, 1): f"{TARGETS} targets without 1 %",
        (targets, len(FRACTIONS)): f"all {targets} targets, five sizes",
    }
    works = [
        f"{text}: {count * many * RUNS:,} models, {count * many * RUNS / speeds[GROUPED]:.0f} CPU s"
        for (count, many), text in sizes.items()
    ]
    return "\n".join(
        [
            "| retraining without 1 % of the examples, one thread | models per CPU s |",
            "|---|---|",
            *rows,
            "",
            f"{GROUPED} / {ALONE}, K = {recipe.GROUP}: {speeds[GROUPED] / speeds[ALONE]:.1f}x.",
            f"At this speed, {RUNS} runs of the proponents take: {'; '.join(works)}.",
        ]
    )
