"""Counterfactual evaluations by the library, with which tests compare those of the service.

Legend: T targets, K numbers of removed examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import undefer

from app.db.counterfactuals import Counterfactual
from ldsboard.bundle import Bundle
from ldsboard.counterfactual.plan import Plan
from ldsboard.counterfactual.removals import DIRECTIONS, Removals
from ldsboard.retraining.evaluation import Evaluation
from ldsboard.retraining.kit import Kit

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from ldsboard.counterfactual.result import CounterfactualResult
    from tests.app.benchmarks import Example


def evaluate(example: Example, folder: Path, seed: int = 0) -> CounterfactualResult:
    """Evaluate the scores of an example with this seed in this process, undisturbed; `folder` is for parts."""
    bundle = Bundle.open(example.folder)
    plan = Plan.of(bundle.manifest)
    evaluation = Evaluation(Kit.of(bundle), plan, Removals.of(example.scores(seed=seed), plan), folder)
    list(evaluation.train(evaluation.missing()))
    return evaluation.result()


def stored_falls(result: CounterfactualResult) -> bytes:
    """Return the falls of a result as the service stores them: little-endian float64 (2, K, T)."""
    sizes = result.plan.sizes
    falls = np.stack([[result.falls[kind, size].margin for size in sizes] for kind in DIRECTIONS])
    return falls.astype("<f8").tobytes()


def saved(database: Database) -> dict[str, Counterfactual]:
    """Return all rows of evaluations by submission."""
    with database.read() as session:
        rows = session.scalars(select(Counterfactual).options(undefer("*")))
        return {row.submission_id: row for row in rows}
