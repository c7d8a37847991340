"""What was measured of submissions, and which evaluation is the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.db.models import Evaluation
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Submission


def shown(session: Session, submission: Submission) -> Evaluation | None:
    """Return the finished evaluation of a submission that the boards show, if there is one.

    That is the one against the current version of its benchmark, otherwise against the version that it was sent to, each by the
    scorer that the version's board has; one that is newer than the board is shown only while there is no other.
    """
    current = submission.version.benchmark.current_version
    finished = [evaluation for evaluation in submission.evaluations if evaluation.scored_at is not None]

    def preference(evaluation: Evaluation) -> tuple[bool, bool, bool, int]:
        version = evaluation.version
        on_board = evaluation.scorer_version == version.scorer_version
        return version.version == current, version.id == submission.version_id, on_board, evaluation.id

    return max(finished, key=preference, default=None)


def measured(session: Session, submission: Submission) -> Evaluation:
    """Return the evaluation of a submission that is shown.

    Raises
    ------
    ProblemError
        ``submission.not_scored``.
    """
    evaluation = shown(session, submission)
    if evaluation is None:
        raise ProblemError(
            "submission.not_scored",
            expected="a scored submission",
            got=f"{submission.id}, which is {submission.state}",
            hint="Wait until its state is 'scored'.",
        )
    return evaluation


def usual_seconds(session: Session) -> float | None:
    """Return how long the last evaluations took on average; None before the first."""
    last = select(Evaluation.seconds).where(Evaluation.scored_at.is_not(None)).order_by(Evaluation.id.desc()).limit(20)
    return session.scalar(select(func.avg(last.subquery().c.seconds)))
