"""Submissions whose evaluation failed permanently, on a running server, without waiting for its retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.db.base import now
from app.db.models import Attribution, Evaluation, Event, Measurement, State, Submission
from app.scoring.queue import MAX_FAILURES

if TYPE_CHECKING:
    from tests.app.service import Service


def fail(service: Service, submission_id: str, detail: str = "RuntimeError()") -> int:
    """Make the only evaluation of a scored submission one that failed permanently; return the id of its version."""
    with service.database.write() as session:
        (evaluation,) = session.scalars(select(Evaluation).where(Evaluation.submission_id == submission_id))
        for table in (Measurement, Attribution):
            session.execute(delete(table).where(table.evaluation_id == evaluation.id))
        evaluation.scored_at, evaluation.claimed_at, evaluation.failures = None, None, MAX_FAILURES
        error = {"code": "internal.failed", "title": "The server failed", "detail": "It failed.", "hint": "Wait."}
        of_this = Submission.id == submission_id
        session.execute(update(Submission).where(of_this).values(state=State.FAILED, error=error))
        failure = {"before": State.SCORING, "after": State.FAILED, "detail": detail, "at": now()}
        session.add(Event(submission_id=submission_id, **failure))
        return evaluation.version_id
