"""Attributions of single targets: saved when a file is scored, loaded for the submission's page.

Legend: M public subsets, N targets, k proponents and k opponents per target.
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


class TargetAttribution(NamedTuple):
    """The extreme scores and the predictions of one target.

    Attributes
    ----------
    proponents
        (index of the training example, score) for each of the k highest scores, the highest first.
    opponents
        (index of the training example, score) for each of the k lowest scores, the lowest first.
    predictions_M
        Predictions for the public subsets, float64 (M,).
    """

    proponents: list[tuple[int, float]]
    opponents: list[tuple[int, float]]
    predictions_M: NDArray[np.float64]


def save(session: Session, evaluation_id: int, found: Attributions) -> None:
    """Save the attributions that a scoring process returned, one row per target."""
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


def load(session: Session, evaluation: Evaluation) -> dict[int, TargetAttribution]:
    """Return the saved attributions of an evaluation by index of the target, with ascending targets.

    The result is empty if retention has deleted the attributions, or if the evaluation is older than the table of attributions.
    """
    query = select(Attribution).where(Attribution.evaluation_id == evaluation.id).order_by(Attribution.target)
    return {row.target: _unpack(row) for row in session.scalars(query)}


def _unpack(row: Attribution) -> TargetAttribution:
    examples = np.frombuffer(row.examples, dtype="<i4")
    scores = np.frombuffer(row.scores, dtype="<f8")
    pairs = list(zip(examples.tolist(), scores.tolist(), strict=True))
    k = len(pairs) // 2
    return TargetAttribution(pairs[:k], pairs[k:], np.frombuffer(row.predictions, dtype="<f8"))


def typical_target(rho_N: NDArray[np.float64], among: Iterable[int]) -> int | None:
    """Return the index in `among` of the target whose rho is closest to the mean rho of all targets; None if `among` is empty.

    Of several equally close targets, the first is returned.
    """
    return min(among, key=lambda target: abs(rho_N[target] - rho_N.mean()), default=None)
