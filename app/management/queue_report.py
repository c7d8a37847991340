"""What the operator sees of the queue: what waits, runs and failed, and how long scoring took in the last hour.

All numbers come from the database, so every server process of an installation reports the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, case, func, null, or_, select

from app.db.accounts import User
from app.db.base import now
from app.db.models import FINAL, Benchmark, Evaluation, Event, Kind, State, Submission, Version
from app.scoring.queue import MAX_FAILURES
from ldsboard.core import result

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

RESCORING = "rescoring"
"""Kind of the evaluations of submissions that were scored before."""

KINDS = (*Kind, RESCORING)
"""Kinds of evaluations: first evaluations by the kind of their submission, and rescorings."""

WINDOW = timedelta(hours=1)

LOST_WINDOW, MAX_LOST = timedelta(days=1), 20
"""How far `lost` looks back, and the maximum number of evaluations that it returns."""

MAX_SHOWN = 100
"""Maximum number of evaluations that `running`, and that `failed`, return."""

_KIND = case((Submission.state == State.SCORED, RESCORING), else_=Submission.kind).label("kind_of_evaluation")
_HAS_NO_RESULT = Evaluation.scored_at.is_(None)

IS_RUNNING = and_(
    Evaluation.claimed_at.is_not(None), _HAS_NO_RESULT, Submission.state.in_([State.SCORING, State.SCORED])
)
"""SQL condition for evaluations joined with their submissions: a worker has claimed the evaluation."""


class Waiting(NamedTuple):
    """The waiting evaluations of one kind. `since` is when the oldest began to wait, `retrying` how many failed before."""

    number: int = 0
    retrying: int = 0
    since: datetime | None = None

    def joined(self, number: int, retrying: int, since: datetime) -> Waiting:
        """Return these evaluations together with others."""
        oldest = since if self.since is None else min(since, self.since)
        return Waiting(self.number + number, self.retrying + retrying, oldest)


class Queue(NamedTuple):
    """The evaluations without a result, by kind in `KINDS`: those that wait, that workers run, and that failed permanently.

    `held` is the number of first evaluations that wait until a ban is lifted.
    """

    waiting: dict[str, Waiting]
    running: dict[str, int]
    failed: dict[str, int]
    held: int


class Named(NamedTuple):
    """What names an evaluation to the operator. `version_id` tells it from other evaluations of the submission."""

    submission_id: str
    version_id: int
    method: str
    owner: str
    benchmark: str
    version: int
    kind: str


class Lost(NamedTuple):
    """An evaluation that was taken from a dead worker, and what became of it.

    `seen_at` is the last sign of life of `worker`, and `at` is when the evaluation was queued again. `state` is that of the
    evaluation: ``queued``, ``running``, ``scored``, or the final state of the submission; `by` is the process that runs the
    evaluation, or has scored or rejected the file, and `since` is when it began, or was scored.
    """

    named: Named
    worker: str
    seen_at: datetime
    at: datetime
    state: str
    by: str | None
    since: datetime | None


class Running(NamedTuple):
    """An evaluation that a worker runs: which, since when, which attempt, and how many percent of the targets are scored."""

    named: Named
    worker: str | None
    since: datetime
    attempt: int
    percent: int | None


class Failed(NamedTuple):
    """An evaluation that failed permanently. `at` and `error` are None for a rescoring, because no event records its failure."""

    named: Named
    failures: int
    at: datetime | None
    error: str | None


class Scored(NamedTuple):
    """The evaluations that were scored within `WINDOW`: their number, and the sum and the largest of their seconds."""

    number: int
    seconds: float
    slowest: float


def is_failed() -> ColumnElement[bool]:
    """Return the SQL condition, for evaluations joined with their submissions, that the evaluation failed permanently."""
    return or_(
        and_(Submission.state == State.FAILED, _HAS_NO_RESULT),
        and_(_is_rescoring(), Evaluation.failures >= MAX_FAILURES),
    )


def queue_state(session: Session) -> Queue:
    """Return what waits, runs and failed; evaluations that wait for a retry wait, too.

    A first evaluation waits since its file arrived, or since an admin retried it after it had failed permanently.
    """
    retried = select(func.max(Event.at)).where(
        Event.submission_id == Submission.id, Event.before == State.FAILED, Event.after == State.QUEUED
    )
    since = func.coalesce(retried.correlate(Submission).scalar_subquery(), Evaluation.created_at)
    is_held, is_claimed = User.ban.is_not(null()), Evaluation.claimed_at.is_not(None)
    groups = (Submission.state, Submission.kind, Evaluation.scorer_version, Evaluation.failures, is_held, is_claimed)
    # One query without a condition on the state: a database that began with the scored submissions would take ten times as long.
    query = select(*groups, func.count(), func.min(since)).select_from(Evaluation).join(Submission).join(User)
    waiting, held = dict.fromkeys(map(str, KINDS), Waiting()), 0
    running, failed = dict.fromkeys(map(str, KINDS), 0), dict.fromkeys(map(str, KINDS), 0)
    for state, kind_of_submission, scorer, failures, banned, claimed, number, oldest in session.execute(
        query.where(_HAS_NO_RESULT).group_by(*groups)
    ):
        is_rescoring = state == State.SCORED and scorer == result.SCORER_VERSION
        kind = RESCORING if is_rescoring else kind_of_submission
        if state == State.QUEUED and banned:
            held += number
        elif claimed and (is_rescoring or state == State.SCORING):
            running[kind] += number
        elif state == State.FAILED or (is_rescoring and failures >= MAX_FAILURES):
            failed[kind] += number
        elif is_rescoring or state == State.QUEUED:
            waiting[kind] = waiting[kind].joined(number, number if failures else 0, oldest)
    return Queue(waiting, running, failed, held)


def running(session: Session) -> list[Running]:
    """Return the evaluations that workers run, the oldest claim first."""
    query = _names(IS_RUNNING).add_columns(Evaluation)
    rows = session.execute(query.order_by(Evaluation.claimed_at, Evaluation.id).limit(MAX_SHOWN))
    return [
        Running(Named(*names), found.worker, found.claimed_at, found.failures + 1, found.percent)
        for *names, found in rows
    ]


def failed(session: Session) -> list[Failed]:
    """Return the newest evaluations that failed permanently."""
    query = _names(is_failed()).add_columns(Evaluation.failures)
    rows = session.execute(query.order_by(Evaluation.id.desc()).limit(MAX_SHOWN)).all()
    found = [(Named(*names), failures) for *names, failures in rows]
    ends = select(Event.submission_id, Event.at, Event.detail).where(
        Event.submission_id.in_([named.submission_id for named, _ in found if named.kind != RESCORING]),
        Event.after == State.FAILED,
    )
    last = {submission_id: (at, error) for submission_id, at, error in session.execute(ends.order_by(Event.id))}
    return [Failed(named, failures, *last.get(named.submission_id, (None, None))) for named, failures in found]


def lost(session: Session) -> list[Lost]:
    """Return the newest evaluations whose worker died within `LOST_WINDOW`, one for each worker that died."""
    start = now() - LOST_WINDOW
    recent = or_(_HAS_NO_RESULT, Evaluation.scored_at > start)
    query = _names(and_(Evaluation.lost_workers.is_not(null()), recent)).add_columns(Submission.state, Evaluation)
    found = []
    for *names, state, evaluation in session.execute(query):
        outcome = _outcome(state, evaluation)
        for loss in evaluation.lost_workers:
            seen_at, at = (datetime.fromisoformat(loss[name]) for name in ("seen_at", "at"))
            if at > start:
                found.append(Lost(Named(*names)._replace(kind=loss["kind"]), loss["worker"], seen_at, at, *outcome))
    return sorted(found, key=lambda each: each.at, reverse=True)[:MAX_LOST]


def submission_counts(session: Session) -> dict[str, int]:
    """Return the number of submissions by state."""
    query = select(Submission.state, func.count()).group_by(Submission.state)
    return dict.fromkeys(map(str, State), 0) | _counts(session, query)


def problem_counts(session: Session) -> dict[str, int]:
    """Return the number of rejected and failed submissions by the code of their problem."""
    code = Submission.error["code"].as_string().label("code_of_problem")
    query = select(code, func.count()).where(Submission.state.in_([State.REJECTED, State.FAILED]))
    return _counts(session, query.group_by(code.name))


def recently_scored(session: Session) -> Scored:
    """Return number and seconds of the evaluations that were scored within `WINDOW`."""
    seconds = Evaluation.seconds
    query = select(func.count(), func.sum(seconds), func.max(seconds)).where(Evaluation.scored_at > now() - WINDOW)
    number, total, largest = session.execute(query).one()
    return Scored(number, total or 0.0, largest or 0.0)


def _outcome(state: str, evaluation: Evaluation) -> tuple[str, str | None, datetime | None]:
    """Return the fields `state`, `by` and `since` of `Lost`."""
    if evaluation.scored_at is not None:
        return State.SCORED, evaluation.worker, evaluation.scored_at
    if state == State.REJECTED:
        return state, evaluation.worker, None
    if state in FINAL - {State.SCORED}:
        return state, None, None
    if evaluation.claimed_at is not None:
        return "running", evaluation.worker, evaluation.claimed_at
    return (State.FAILED if evaluation.failures >= MAX_FAILURES else State.QUEUED), None, None


def _is_rescoring() -> ColumnElement[bool]:
    # Rescorings by an earlier scorer that never ended concern nobody any more.
    return and_(Submission.state == State.SCORED, _HAS_NO_RESULT, Evaluation.scorer_version == result.SCORER_VERSION)


def _names(condition: ColumnElement[bool]) -> Select[Any]:
    """Return a query for the fields of `Named` of the evaluations that meet a condition."""
    columns = (Submission.id, Version.id, Submission.method, User.name, Benchmark.name, Version.version, _KIND)
    joined = select(*columns).select_from(Evaluation).join(Submission, Submission.id == Evaluation.submission_id)
    joined = joined.join(User, User.id == Submission.user_id).join(Version, Version.id == Evaluation.version_id)
    return joined.join(Benchmark, Benchmark.id == Version.benchmark_id).where(condition)


def _counts(session: Session, query: Select[str, int]) -> dict[str, int]:
    return dict(session.execute(query).all())
