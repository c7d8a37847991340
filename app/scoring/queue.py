"""The queue of evaluations: which comes next, and what becomes of one that failed.

People wait for the first evaluation of a submission, whose state shows where it is. They take turns: next is one of whoever was
served least recently, of theirs a ranked one before practice, and the oldest first. Evaluations of submissions that are scored
already, against a new version or by a new scorer, come after all of those.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from app.db.accounts import User
from app.db.base import now
from app.db.models import Evaluation, Kind, State, Submission
from app.submissions.lifecycle import move
from ldsboard import result

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

MAX_FAILURES = 4
"""How often an evaluation is tried that fails by our fault."""

TURN = func.coalesce(User.served_at, User.created_at)
"""The smaller, the sooner it is a user's turn; whoever is new comes after those who wait already."""

LOST = "nobody worked on it any more"

SLOWER = 4
"""How many times longer the wait is after each failure."""


def claim(session: Session) -> int | None:
    """Take the next evaluation that waits, and return its id; None if there is none."""
    evaluation = session.scalar(
        select(Evaluation)
        .join(Submission)
        .join(User)
        .where(
            Evaluation.scored_at.is_(None),
            Evaluation.claimed_at.is_(None),
            Evaluation.failures < MAX_FAILURES,
            Evaluation.scorer_version == result.SCORER_VERSION,
            or_(Evaluation.not_before.is_(None), Evaluation.not_before <= now()),
            Submission.state.in_([State.QUEUED, State.SCORED]),
        )
        .order_by(Submission.state == State.SCORED, TURN, User.id, Submission.kind == Kind.PRACTICE, Evaluation.id)
        .limit(1)
    )
    if evaluation is None:
        return None
    evaluation.claimed_at = now()
    if evaluation.submission.state == State.QUEUED:
        evaluation.submission.user.served_at = now()
        move(session, evaluation.submission_id, State.QUEUED, State.SCORING)
    return evaluation.id


def put_back(session: Session, evaluation_id: int, detail: str) -> None:
    """Let an evaluation that nobody works on any more be taken again."""
    evaluation = session.get_one(Evaluation, evaluation_id)
    evaluation.claimed_at = None
    move(session, evaluation.submission_id, State.SCORING, State.QUEUED, detail=detail)


def postpone(evaluation: Evaluation, first_wait: float) -> bool:
    """Count a failure; tell whether it will be tried again: `first_wait` seconds after the first, and later after each."""
    evaluation.claimed_at = None
    evaluation.failures += 1
    evaluation.not_before = now() + timedelta(seconds=first_wait * SLOWER ** (evaluation.failures - 1))
    return evaluation.failures < MAX_FAILURES


def recover(session: Session, running: Collection[int] = ()) -> None:
    """Let everything be taken again that was taken and that nobody works on, `running` being what is worked on."""
    lost = select(Evaluation.id).where(
        Evaluation.scored_at.is_(None), Evaluation.claimed_at.is_not(None), Evaluation.id.not_in(running)
    )
    for evaluation_id in session.scalars(lost).all():
        put_back(session, evaluation_id, LOST)
    worked_on = select(Evaluation.submission_id).where(Evaluation.id.in_(running))
    stuck = select(Submission.id).where(Submission.state == State.SCORING, Submission.id.not_in(worked_on))
    for submission_id in session.scalars(stuck).all():
        move(session, submission_id, State.SCORING, State.QUEUED, detail=LOST)


def place(session: Session, submission: Submission) -> int:
    """Return how many are taken from the queue until a queued submission is, itself and those being scored among them.

    That holds if nobody sends anything more, and is what `claim` does: everybody has a turn before anybody has the next.
    """
    own = session.scalar(select(func.min(Evaluation.id)).where(Evaluation.submission_id == submission.id)) or 0
    before = and_(Submission.kind == submission.kind, Evaluation.id <= own)
    if submission.kind == Kind.PRACTICE:
        before = or_(Submission.kind == Kind.RANKED, before)
    mine = select(func.count()).select_from(Evaluation).join(Submission)
    mine = mine.where(Submission.user_id == submission.user_id, Submission.state == State.QUEUED, before)
    turn = session.scalar(mine) or 1
    waiting = (
        select(User.id, TURN, func.count())
        .join(Submission, Submission.user_id == User.id)
        .where(Submission.state == State.QUEUED)
        .group_by(User.id)
        .order_by(TURN, User.id)
    )
    ahead, passed = 0, False
    for user_id, _, count in session.execute(waiting):
        passed = passed or user_id == submission.user_id
        ahead += min(count, turn - passed) if user_id != submission.user_id else turn
    scoring = select(func.count()).where(Submission.state == State.SCORING)
    return ahead + (session.scalar(scoring) or 0)
