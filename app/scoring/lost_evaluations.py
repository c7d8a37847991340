"""Find the evaluations whose worker has died, and the tickets that are missing.

The periodic task of the workers does this, and so does the server that leads, because the last worker can die, too.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, text

from app.db.models import Evaluation, State, Submission
from app.db.tickets import Queue, note_ticket
from app.scoring import queue
from app.submissions.lifecycle import transition

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.sessions import Database

STALLED_SECONDS = 30.0
"""Seconds without a heartbeat after which a worker counts as dead."""

TAKEN_TICKETS = text(
    "SELECT job.id, worker.last_heartbeat, worker.last_heartbeat >= now() - make_interval(secs => :seconds) "
    "FROM procrastinate_jobs AS job JOIN procrastinate_workers AS worker ON worker.id = job.worker_id WHERE job.status = 'doing'"
).bindparams(bindparam("seconds"))
"""The tickets that workers have taken, the last heartbeats of these workers, and whether they count as alive."""

WAITING_TICKETS = text(
    "SELECT queue_name, count(*) FROM procrastinate_jobs "
    "WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) GROUP BY queue_name"
)
"""The number of tickets that wait for a worker, by queue."""


def recover(database: Database, stalled_seconds: float) -> None:
    """Requeue the evaluations that no living worker has, and add the tickets that are missing.

    An evaluation whose workers died `queue.MAX_LOSSES` times fails. A ticket is missing if a worker took it and found nothing to
    claim at that time, for instance while the owner was banned, or if the database was moved.

    Parameters
    ----------
    stalled_seconds
        Seconds without a heartbeat after which a worker counts as dead.
    """
    with database.write() as session:
        _requeue_lost(session, stalled_seconds)
    with database.write() as session:
        waiting: dict[str, int] = {name: number for name, number in session.execute(WAITING_TICKETS)}  # noqa: C416 -- dict() would not know the types
        for name in Queue:
            claimable = session.scalar(select(func.count()).select_from(queue.claimable(name).subquery())) or 0
            note_ticket(session, name, count=max(0, claimable - waiting.get(name, 0)))


def _requeue_lost(session: Session, stalled_seconds: float) -> None:
    tickets = {job: found for job, *found in session.execute(TAKEN_TICKETS, {"seconds": stalled_seconds})}
    claimed = select(Evaluation).where(Evaluation.scored_at.is_(None), Evaluation.claimed_at.is_not(None))
    for lost in session.scalars(claimed).all():
        heartbeat, is_alive = tickets.get(lost.job, (None, False))
        if not is_alive:
            signs = [sign.astimezone(UTC) for sign in (lost.claimed_at, heartbeat) if sign is not None]
            queue.record_loss(session, lost, seen_at=max(signs))
    stuck = select(Submission.id).where(
        Submission.state == State.SCORING, Submission.id.not_in(claimed.with_only_columns(Evaluation.submission_id))
    )
    for submission_id in session.scalars(stuck).all():
        transition(session, submission_id, State.SCORING, State.QUEUED, detail=queue.ABANDONED)
