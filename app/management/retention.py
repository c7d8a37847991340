"""Retention: delete the rows that are older than the operator's settings allow.

Retention never deletes two kinds of submissions. The first kind is attempts; a scored attempt also keeps its numbers and
psi. The second kind is the newest of the scored practice submissions with the same user, version, method, repository and branch,
because CI compares each new submission with the newest submission of the default branch. All pull requests of a repository count
as one branch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import structlog
from sqlalchemy import and_, case, delete, exists, func, not_, or_, select

from app.accounts import deleted_accounts, minting
from app.db.accounts import Audit, SeenIdentity, Token
from app.db.base import now
from app.db.models import Attribution, Evaluation, Event, Kind, State, Submission, Visibility
from app.db.uploads import Provenance
from app.db.webhooks import WebhookCall
from app.management.removal import delete_submissions
from app.submissions.files import delete_unreferenced

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.settings import Settings
    from app.submissions.storage import Storage

BATCH = 100
"""Maximum number of rows of each kind that one transaction deletes, so that other writers do not wait for long."""

PAUSE_SECONDS = 3600.0
"""Seconds that a server waits after a sweep that deleted nothing or failed."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Periods:
    """How long rows are kept.

    Attributes
    ----------
    events
        How long events and calls of webhooks are kept. A submission that ended without a result, and is not an attempt, is kept
        until all its events have been deleted.
    practice
        How long a scored practice submission is kept, counted from the last time that its file was sent. Two kinds are kept
        longer: the newest of each user, version, method, repository and branch, and those that wait for rescoring. The
        attributions of a practice or private submission are kept for an equally long time, counted from the creation of the
        submission.
    audit
        How long rows of the audit log are kept.
    """

    events: timedelta
    practice: timedelta
    audit: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the periods that the operator's settings state."""
        days = (settings.event_days, settings.practice_days, settings.audit_days)
        return cls(*(timedelta(days=number) for number in days))


class Deleted(NamedTuple):
    """Numbers of rows that a sweep deleted.

    The rows that belong to deleted submissions are not counted. ``attributions`` counts the evaluations whose attributions were
    deleted. ``identities`` counts the deleted accounts whose hashed identities were deleted. ``ended_tokens`` counts the expired
    tokens of CI runs that were deleted. ``used_identities`` counts the records of used identity tokens (`SeenIdentity`) that were
    deleted.
    """

    events: int
    submissions: int
    attributions: int
    audit_rows: int
    identities: int = 0
    webhook_calls: int = 0
    ended_tokens: int = 0
    used_identities: int = 0


class Retention:
    """Sweeps the database of one server process.

    Each call of `sweep_if_due` makes one sweep at most. After a sweep that deleted nothing or failed, further calls do nothing
    for `PAUSE_SECONDS`.
    """

    def __init__(self, database: Database, storage: Storage, periods: Periods) -> None:
        self._database = database
        self._storage = storage
        self._periods = periods
        self._due = time.monotonic()

    def sweep_if_due(self) -> None:
        """Make one sweep, see `sweep`; do nothing in the `PAUSE_SECONDS` after a sweep that deleted nothing or failed."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PAUSE_SECONDS
        deleted = sweep(self._database, self._storage, self._periods)
        if any(deleted):
            self._due = time.monotonic()
            log.info("retention.deleted", **deleted._asdict())


def sweep(database: Database, storage: Storage, periods: Periods) -> Deleted:
    """Delete at most `BATCH` rows of each kind that are older than their period; return the numbers of deleted rows.

    With a submission, all rows that belong to the submission are deleted, and its stored file if no other submission refers to
    the file. Attributions are deleted for at most `BATCH` evaluations. The hashed identities of deleted accounts are deleted all
    at once, because they are few. Expired tokens of CI runs and used identity tokens have no period.
    """
    moment = now()
    events = select(Event.id).where(Event.at < moment - periods.events)
    audit_rows = select(Audit.id).where(Audit.at < moment - periods.audit)
    submissions = select(Submission.id).where(
        or_(_has_ended(moment - periods.events), _is_unneeded_practice(moment - periods.practice))
    )
    attributions = _unlisted_evaluations(moment - periods.practice)
    calls = select(WebhookCall.id).where(WebhookCall.created_at < moment - periods.events)
    users = deleted_accounts.forgettable_users()
    tokens, identities = minting.ended_tokens(), minting.outdated_identities()
    queries: tuple[Select[Any], ...] = (events, submissions, attributions, audit_rows, calls, tokens, identities)
    with database.read() as session:
        # Reading takes the most time, and does not block other writers.
        found = [session.scalars(query.limit(BATCH)).all() for query in queries]
        found.append(session.scalars(users).all())
    if not any(found):
        return Deleted(0, 0, 0, 0)
    event_ids, submission_ids, evaluation_ids, audit_ids, call_ids, token_ids, digests, user_ids = found
    with database.write() as session:
        session.execute(delete(Event).where(Event.id.in_(event_ids)))
        session.execute(delete(Audit).where(Audit.id.in_(audit_ids)))
        session.execute(delete(WebhookCall).where(WebhookCall.id.in_(call_ids)))
        # SQLite reuses ids, so the tokens must have expired still.
        session.execute(delete(Token).where(Token.id.in_(token_ids), Token.id.in_(tokens)))
        session.execute(delete(SeenIdentity).where(SeenIdentity.digest.in_(digests)))
        session.execute(delete(Attribution).where(Attribution.evaluation_id.in_(evaluation_ids)))
        deleted_accounts.forget_identities(session)
        # A user may have sent or withdrawn a file meanwhile, so the conditions are checked again.
        unneeded = _still(session, submissions, submission_ids)
        orphans = delete_submissions(session, unneeded)
    delete_unreferenced(database, storage, orphans)
    numbers = (len(event_ids), len(unneeded), len(evaluation_ids), len(audit_ids), len(user_ids))
    return Deleted(*numbers, len(call_ids), len(token_ids), len(digests))


def _still(session: Session, query: Select[str], ids: Sequence[str]) -> Sequence[str]:
    """Return the submission ids in `ids` that `query` still selects; rows can have changed since `ids` were read."""
    return session.scalars(query.where(Submission.id.in_(ids))).all() if ids else []


def _has_ended(before: datetime) -> ColumnElement[bool]:
    """Return the SQL condition that a submission has ended without a result, is no attempt, and was created before `before`.

    The submission must also have no event. A sweep deletes old events, so a submission without events has not changed recently.
    """
    counts = and_(Submission.kind == Kind.RANKED, Submission.counted)
    return and_(
        Submission.created_at < before,
        not_(exists().where(Event.submission_id == Submission.id)),
        or_(
            Submission.state.in_([State.EXPIRED, State.FAILED]),
            and_(Submission.state.in_([State.REJECTED, State.WITHDRAWN]), not_(counts)),
        ),
    )


def _is_unneeded_practice(before: datetime) -> ColumnElement[bool]:
    """Return the SQL condition that a scored practice submission is old, and is not the newest of any group.

    Old means that the file was last sent before `before`. A group holds the submissions with the same user, version, method,
    declaration (``uses_subsets``), repository and branch; all pull requests of a repository are one group. A file that was sent
    several times can have several provenances, so a submission can belong to several groups. A submission that waits for
    rescoring does not meet the condition.
    """
    is_scored_practice = and_(Submission.kind == Kind.PRACTICE, Submission.state == State.SCORED)
    sent_at = func.coalesce(Provenance.at, Submission.created_at)
    is_request = Provenance.number.is_not(None)
    # A pull request is never a baseline, so its branch needs no group of its own; "/" begins the name of no branch.
    branch = case((is_request, "/"), else_=Provenance.branch)
    method = (Submission.user_id, Submission.version_id, Submission.method, Submission.uses_subsets)
    group = (*method, Provenance.repository, branch)
    place = func.row_number().over(partition_by=group, order_by=(sent_at.desc(), Submission.id.desc()))
    sent = select(Submission.id, sent_at.label("sent_at"), place.label("place"))
    sent_files = sent.outerjoin(Provenance).where(is_scored_practice).subquery()
    needed = select(sent_files.c.id).where(or_(sent_files.c.place == 1, sent_files.c.sent_at >= before))
    # A board with a pending rescoring must not lose it without being told.
    has_rescoring = exists().where(Evaluation.submission_id == Submission.id, Evaluation.scored_at.is_(None))
    return and_(is_scored_practice, Submission.id.not_in(needed), not_(has_rescoring))


def _unlisted_evaluations(before: datetime) -> Select[int]:
    """Return a query for ids of evaluations that have attributions and belong to an old practice or old private submission.

    Old means that the submission was created before `before`.
    """
    is_unlisted = or_(Submission.kind == Kind.PRACTICE, Submission.visibility == Visibility.PRIVATE)
    has_attributions = exists().where(Attribution.evaluation_id == Evaluation.id)
    return select(Evaluation.id).join(Submission).where(is_unlisted, Submission.created_at < before, has_attributions)
