"""What scored files say of single targets: kept when a file is scored, and read for its page.

Legend: M public subsets, N targets, k examples at each end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from app.db.models import Attribution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from app.db.models import Evaluation
    from app.scoring.sandbox.attributions import Attributions


class Scores(NamedTuple):
    """What a file says of one target.

    Attributes
    ----------
    proponents, opponents
        The k training examples with the highest scores, the highest first, and with the lowest, the lowest first; each with its
        score.
    predictions_M
        Sums of scores over the public subsets, float64.
    """

    proponents: list[tuple[int, float]]
    opponents: list[tuple[int, float]]
    predictions_M: NDArray[np.float64]


def keep(session: Session, evaluation_id: int, found: Attributions) -> None:
    """Write down what a scoring process found."""
    examples = np.concatenate([found.proponents_tk, found.opponents_tk], axis=1)
    scores = np.concatenate([found.proponent_scores_tk, found.opponent_scores_tk], axis=1)
    for i, target in enumerate(found.targets_t):
        session.add(
            Attribution(
                evaluation_id=evaluation_id,
                target=int(target),
                examples=examples[i].astype("<i4").tobytes(),
                scores=scores[i].astype("<f8").tobytes(),
                predictions=found.predictions_tM[i].astype("<f8").tobytes(),
            )
        )
    session.flush()


def targets(session: Session, evaluation: Evaluation) -> list[int]:
    """Return the targets of which something was kept, rising; none of what was scored before that was done."""
    query = select(Attribution.target).where(Attribution.evaluation_id == evaluation.id).order_by(Attribution.target)
    return list(session.scalars(query))


def of(session: Session, evaluation: Evaluation, target: int) -> Scores | None:
    """Return what was kept of a target, if anything was."""
    row = session.get(Attribution, (evaluation.id, target))
    if row is None:
        return None
    examples = np.frombuffer(row.examples, dtype="<i4")
    scores = np.frombuffer(row.scores, dtype="<f8")
    pairs = list(zip(examples.tolist(), scores.tolist(), strict=True))
    k = len(pairs) // 2
    return Scores(pairs[:k], pairs[k:], np.frombuffer(row.predictions, dtype="<f8"))


def typical(rho_N: NDArray[np.float64], among: Iterable[int]) -> int | None:
    """Return which of some targets has the correlation closest to the mean of all; the first of equal ones."""
    return min(among, key=lambda target: abs(rho_N[target] - rho_N.mean()), default=None)
