"""The queue of evaluations: claiming, requeueing and retrying.

Users take turns with the first evaluations of their submissions. `claim` picks the user who was served least recently, and takes
this user's ranked submissions before practice submissions, the oldest first. Rescorings (evaluations of scored submissions
against a new version or by a new scorer) come after all first evaluations. The first evaluations of a banned user wait until the
ban is lifted; rescorings do not wait, because a whole board waits for them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import and_, func, null, or_, select
from sqlalchemy.orm import contains_eager, joinedload, lazyload

from app.db.accounts import User
from app.db.base import now
from app.db.models import Evaluation, Kind, State, Submission, Version
from app.db.presence import process_name
from app.db.tickets import Queue, note_ticket
from app.submissions.lifecycle import transition
from ldsboard.core import result
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

MAX_FAILURES = 4
"""Number of server failures after which an evaluation is not tried again."""

MAX_LOSSES = 10
"""Number of workers that died while they ran an evaluation, after which it is not tried again: it may be what ends them."""

LAST_SERVED = func.coalesce(User.served_at, User.created_at)
"""SQL expression: the time when a user was last served. A user who was never served counts as served when the account was
created; a new user therefore comes after the users who already wait."""

ABANDONED = "requeued: no worker was running it"
"""Detail of the event that records the requeueing of a claimed evaluation without a worker."""

LOST = "requeued: its worker has ended"
"""Detail of the event that records the requeueing of the evaluation of a dead worker in another process."""

UNKNOWN = "unknown"
"""Stands for the name of a worker that claimed with the code of a release that recorded no names."""

UNMEASURED = lazyload(Evaluation.measurements)
"""Option of a query for evaluations without a result: they have no measurements to load."""

RETRY_WAIT_FACTOR = 4
"""Factor by which each failure of an evaluation lengthens the wait before the next retry."""


log = structlog.get_logger()


def claimable(*queues: Queue) -> Select[Evaluation]:
    """Return a query for the evaluations of some queues that can be claimed now."""
    states = {Queue.SCORING: State.QUEUED, Queue.RESCORING: State.SCORED}
    return (
        select(Evaluation)
        .join(Submission)
        .join(User)
        .where(
            Evaluation.scored_at.is_(None),
            Evaluation.claimed_at.is_(None),
            Evaluation.failures < MAX_FAILURES,
            Evaluation.scorer_version == result.SCORER_VERSION,
            or_(Evaluation.not_before.is_(None), Evaluation.not_before <= now()),
            Submission.state.in_([states[queue] for queue in queues]),
            or_(Submission.state == State.SCORED, User.ban.is_(null())),
        )
    )


def claim(session: Session, *queues: Queue, job: int | None = None) -> Evaluation | None:
    """Claim the next evaluation and return it; None if no evaluation can be claimed now.

    Evaluations that wait for a retry, and first evaluations of banned users, cannot be claimed. The submission of a first
    evaluation moves to the state `State.SCORING`.

    Parameters
    ----------
    queues
        The queues to claim from; by default all.
    job
        Id of the ticket under which a worker claims.
    """
    evaluation = session.scalar(
        claimable(*(queues or Queue))
        .order_by(
            Submission.state == State.SCORED, LAST_SERVED, User.id, Submission.kind == Kind.PRACTICE, Evaluation.id
        )
        .options(contains_eager(Evaluation.submission).contains_eager(Submission.user), UNMEASURED)
        .limit(1)
    )
    if evaluation is None:
        return None
    evaluation.claimed_at, evaluation.job, evaluation.worker = now(), job, process_name()
    evaluation.claims += 1
    if evaluation.submission.state == State.QUEUED:
        evaluation.submission.user.served_at = now()
        transition(session, evaluation.submission_id, State.QUEUED, State.SCORING)
    return evaluation


def is_held(claimed: Evaluation) -> ColumnElement[bool]:
    """Return the SQL condition that a claimed evaluation was not scored, withdrawn, requeued or claimed anew since the claim.

    SQLite reuses row ids, so the submission id is compared too.
    """
    return and_(
        Evaluation.id == claimed.id,
        Evaluation.submission_id == claimed.submission_id,
        Evaluation.claimed_at.is_not(None),
        Evaluation.claims == claimed.claims,
        Evaluation.scored_at.is_(None),
    )


def held(session: Session, claimed: Evaluation) -> Evaluation | None:
    """Return the current row of a claimed evaluation; None if it was scored, withdrawn, requeued or claimed anew."""
    needed = joinedload(Evaluation.submission), joinedload(Evaluation.version).joinedload(Version.benchmark)
    return session.scalar(select(Evaluation).where(is_held(claimed)).options(*needed, UNMEASURED))


def requeue(session: Session, evaluation: Evaluation, detail: str) -> None:
    """Requeue a claimed evaluation.

    If the submission is in the state `State.SCORING`, the submission is queued again, and the event of this transition records
    `detail`. Rescorings change no state and record no event.
    """
    _release(evaluation)
    is_first = transition(session, evaluation.submission_id, State.SCORING, State.QUEUED, detail=detail)
    note_ticket(session, Queue.SCORING if is_first else Queue.RESCORING)


def record_loss(session: Session, evaluation: Evaluation, seen_at: datetime) -> None:
    """Requeue a claimed evaluation whose worker has died, or let it fail for good after `MAX_LOSSES`.

    `seen_at` is the last sign of life of the worker.
    """
    evaluation.losses += 1
    worker = evaluation.worker or UNKNOWN
    # Later, when the submission is scored, nothing else says which kind of evaluation this was.
    is_first = evaluation.submission.state == State.SCORING
    kind = evaluation.submission.kind if is_first else Queue.RESCORING.value
    loss = {"worker": worker, "kind": kind, "seen_at": seen_at.isoformat(), "at": now().isoformat()}
    evaluation.lost_workers = [*(evaluation.lost_workers or []), loss]
    log.warning(
        "evaluation.lost",
        evaluation=evaluation.id,
        submission=evaluation.submission_id,
        worker=worker,
        seen_at=f"{seen_at:%Y-%m-%d %H:%M:%S}",
        losses=evaluation.losses,
    )
    if evaluation.losses < MAX_LOSSES:
        requeue(session, evaluation, LOST)
        return
    _release(evaluation)
    evaluation.failures = MAX_FAILURES
    problem = failure("The workers that scored the file ended before they had a result.")
    transition(session, evaluation.submission_id, State.SCORING, State.FAILED, error=problem.as_dict())
    alert_failure(evaluation)


def alert_failure(evaluation: Evaluation) -> None:
    """Log that an evaluation will not be tried again."""
    about = "an evaluation failed permanently"
    log.critical("alert", about=about, submission=evaluation.submission_id, evaluation=evaluation.id)


def failure(detail: str) -> Problem:
    """Return the problem that a submission fails with after errors of the server."""
    return Problem(
        "internal.failed",
        detail,
        "Send the file again later; a failed submission uses no quota of ranked or practice submissions.",
    )


def _release(evaluation: Evaluation) -> None:
    evaluation.claimed_at = evaluation.percent = evaluation.job = evaluation.worker = None


def record_failure(session: Session, evaluation: Evaluation, first_wait: float) -> bool:
    """Count a failure of a claimed evaluation and release the claim; return whether the evaluation will be retried.

    After `MAX_FAILURES` failures, the evaluation is not retried. The wait before the first retry is `first_wait` seconds. Each
    later wait is `RETRY_WAIT_FACTOR` times as long as the wait before. The caller changes the state of the submission.
    """
    _release(evaluation)
    evaluation.failures += 1
    evaluation.not_before = now() + timedelta(seconds=first_wait * RETRY_WAIT_FACTOR ** (evaluation.failures - 1))
    if evaluation.failures == MAX_FAILURES:
        return False
    is_first = evaluation.submission.state == State.SCORING
    note_ticket(session, Queue.SCORING if is_first else Queue.RESCORING, evaluation.not_before)
    return True


def requeue_abandoned(session: Session, running: Collection[int] = ()) -> None:
    """Requeue all claimed evaluations that no worker is running.

    Submissions that are in the state `State.SCORING` without a running evaluation return to the state `State.QUEUED`.

    Parameters
    ----------
    running
        Ids of the evaluations that the workers of this server are running.
    """
    abandoned = select(Evaluation).where(
        Evaluation.scored_at.is_(None), Evaluation.claimed_at.is_not(None), Evaluation.id.not_in(running)
    )
    for evaluation in session.scalars(abandoned).all():
        requeue(session, evaluation, ABANDONED)
    being_scored = select(Evaluation.submission_id).where(Evaluation.id.in_(running))
    stuck = select(Submission.id).where(Submission.state == State.SCORING, Submission.id.not_in(being_scored))
    for submission_id in session.scalars(stuck).all():
        transition(session, submission_id, State.SCORING, State.QUEUED, detail=ABANDONED)


def position(session: Session, submission: Submission) -> int:
    """Return the 1-based queue position of a queued submission.

    Running first evaluations count as being ahead of the submission; rescorings and the submissions of banned users do not count.
    A ban of the owner does not change the position, because the ban of an anonymous owner must not be seen.

    The position follows the order of `claim`: every user has one turn before any user has a second turn. Submissions that arrive
    later can therefore change the position.
    """
    own_id = session.scalar(select(func.min(Evaluation.id)).where(Evaluation.submission_id == submission.id)) or 0
    up_to_own = and_(Submission.kind == submission.kind, Evaluation.id <= own_id)
    if submission.kind == Kind.PRACTICE:
        up_to_own = or_(Submission.kind == Kind.RANKED, up_to_own)
    same_user = select(func.count()).select_from(Evaluation).join(Submission)
    same_user = same_user.where(Submission.user_id == submission.user_id, Submission.state == State.QUEUED, up_to_own)
    turn = session.scalar(same_user) or 1
    waiting = (
        select(User.id, LAST_SERVED, func.count())
        .join(Submission, Submission.user_id == User.id)
        .where(Submission.state == State.QUEUED, or_(User.ban.is_(null()), User.id == submission.user_id))
        .group_by(User.id)
        .order_by(LAST_SERVED, User.id)
    )
    ahead, reached_own = 0, False
    for user_id, _, count in session.execute(waiting):
        reached_own = reached_own or user_id == submission.user_id
        ahead += min(count, turn - reached_own) if user_id != submission.user_id else turn
    scoring = select(func.count()).where(Submission.state == State.SCORING)
    return ahead + (session.scalar(scoring) or 0)
