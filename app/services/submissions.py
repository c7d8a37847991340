"""Submissions: reserved, accepted, moved from state to state, and found again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update

from app.db.models import (
    TRANSITIONS,
    Evaluation,
    Event,
    File,
    Idempotency,
    Kind,
    State,
    Submission,
    User,
    Version,
    Visibility,
    now,
)
from app.errors import QuotaError
from ldsboard.formats import NpyHeader, check_dimensions, check_size
from ldsboard.problems import ProblemError
from ldsboard.result import SCORER_VERSION
from ldsboard.scores import check_shape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from app.services.accounts import Account
    from app.storage import Arrival, Storage


@dataclass(frozen=True)
class Entry:
    """What a caller says of a score file."""

    benchmark: str
    method: str
    title: str
    kind: Kind
    cost: dict[str, Any] | None
    size: int


@dataclass(frozen=True)
class Quotas:
    """Ranked submissions of one user: in 24 hours, and to one version."""

    per_day: int
    per_version: int


def check_header(version: Version, header: NpyHeader, size: int) -> None:
    """Refuse a file whose header or size already tells that it cannot be scored against `version`."""
    check_dimensions(header.shape)
    check_size(header, size)
    check_shape(header.shape, version.manifest["n_train"], version.manifest["n_targets"])


def reserve(session: Session, account: Account, version: Version, entry: Entry, quotas: Quotas) -> Submission:
    """Make room for a submission whose bytes are about to come; quotas are checked and counted here.

    Raises
    ------
    QuotaError
        The user has no ranked submission left.
    """
    if entry.kind is Kind.RANKED:
        _check_quota(session, account, version, quotas)
    submission = Submission(
        user_id=account.id,
        version_id=version.id,
        kind=entry.kind,
        method=entry.method,
        title=entry.title or entry.method,
        cost=entry.cost,
        size=entry.size,
    )
    session.add(submission)
    session.flush()
    session.add(Event(submission_id=submission.id, before=None, after=State.UPLOADING))
    return submission


def _check_quota(session: Session, account: Account, version: Version, quotas: Quotas) -> None:
    user = session.get_one(User, account.id)
    per_day = quotas.per_day if user.ranked_per_day is None else user.ranked_per_day
    per_version = quotas.per_version if user.ranked_per_version is None else user.ranked_per_version
    # What failed on our side, and what never arrived, counts for nothing.
    mine = (
        select(Submission.created_at)
        .join(Version)
        .where(
            Submission.user_id == account.id,
            Submission.kind == Kind.RANKED,
            Submission.state.not_in([State.EXPIRED, State.FAILED]),
        )
        .order_by(Submission.created_at)
    )
    moment = now()
    if session.scalar(select(func.count()).select_from(mine.where(Version.id == version.id).subquery())) >= per_version:  # type: ignore[operator]  # a count is never None
        raise QuotaError(f"{per_version} ranked submissions to one version", None, moment)
    today = session.scalars(
        mine.where(Version.benchmark_id == version.benchmark_id, Submission.created_at > moment - timedelta(days=1))
    ).all()
    if len(today) >= per_day:
        resets_at = today[len(today) - per_day] + timedelta(days=1) if per_day else moment + timedelta(days=1)
        raise QuotaError(f"{per_day} ranked submissions to one benchmark in 24 hours", resets_at, moment)


def accept(session: Session, submission_id: str, arrival: Arrival, sha256: str) -> None:
    """Take a file that has arrived whole, and queue its evaluation.

    Raises
    ------
    ProblemError
        ``upload.interrupted``: the submission was given up meanwhile.
    """
    if not move(session, submission_id, State.UPLOADING, State.QUEUED):
        raise ProblemError(
            "upload.interrupted",
            expected="a submission that still waits for its file",
            got="one that was given up",
            hint="Send the file again.",
        )
    file = session.get(File, sha256)
    if file is None:
        session.add(File(sha256=sha256, size=arrival.size, references=1))
    else:
        file.references += 1
    session.flush()
    arrival.keep()
    submission = session.get_one(Submission, submission_id)
    submission.file_sha256 = sha256
    session.add(
        Evaluation(submission_id=submission.id, version_id=submission.version_id, scorer_version=SCORER_VERSION)
    )


def move(
    session: Session,
    submission_id: str,
    before: State,
    after: State,
    *,
    detail: str | None = None,
    **values: Any,
) -> bool:
    """Move a submission from one state to the next, if it still is where it is thought to be; tell whether it was."""
    if after not in TRANSITIONS[before]:
        raise ValueError(f"expected one of {sorted(TRANSITIONS[before])} after {before}, got {after}")
    moved = session.execute(
        update(Submission)
        .where(Submission.id == submission_id, Submission.state == before)
        .values(state=after, **values)
        .execution_options(synchronize_session="fetch")
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]  # an update has a row count
        return False
    session.add(Event(submission_id=submission_id, before=before, after=after, detail=detail))
    return True


def release_file(session: Session, submission: Submission) -> str | None:
    """Drop a submission's reference to its file; return the sha256 if nothing refers to it any more."""
    if submission.file_sha256 is None:
        return None
    file = session.get_one(File, submission.file_sha256)
    submission.file_sha256 = None
    session.flush()
    if file.references > 1:
        file.references -= 1
        return None
    session.delete(file)
    session.flush()
    return file.sha256


def discard_unreferenced(session: Session, storage: Storage, names: Iterable[str]) -> None:
    """Delete those of the stored files that no submission refers to."""
    for sha256 in names:
        if session.get(File, sha256) is None:
            storage.delete(sha256)


def find(session: Session, submission_id: str) -> Submission:
    """Return a submission that everybody may see, or raise ``submission.unknown``."""
    submission = session.get(Submission, submission_id)
    if submission is None or submission.visibility == Visibility.PRIVATE:
        raise ProblemError(
            "submission.unknown",
            expected="the id of a submission",
            got=repr(submission_id[:40]),
            hint="Use the id or the Location that the upload answered with.",
        )
    return submission


def earlier(session: Session, account: Account, route: str, key: str, entry: Entry) -> Submission | None:
    """Return what the same call with the same idempotency key created, if it was made before.

    Raises
    ------
    ProblemError
        ``request.conflict``: the key was used for something else.
    """
    known = session.get(Idempotency, (account.id, route, key))
    if known is None:
        return None
    submission = session.get_one(Submission, known.submission_id)
    if submission.state == State.UPLOADING:
        # Its connection is lost, or the caller would not send the file again: the newer upload takes its place.
        move(session, submission.id, State.UPLOADING, State.EXPIRED, detail="sent again")
    if submission.state == State.EXPIRED:
        session.delete(known)
        session.flush()
        return None
    if (submission.method, submission.kind, submission.size) != (entry.method, entry.kind, entry.size):
        raise _conflict(f"{entry.method}, {entry.kind}, {entry.size} bytes")
    return submission


def check_repeated(submission: Submission, sha256: str) -> None:
    """Raise ``request.conflict`` if a file that came under a used idempotency key is not the one that came first.

    While the first is still on its way, and after it was rejected, there is nothing to compare with.
    """
    if submission.file_sha256 not in (None, sha256):
        raise _conflict("another file of the same size")


def _conflict(got: str) -> ProblemError:
    return ProblemError(
        "request.conflict",
        expected="the same method, kind and file as when the Idempotency-Key was first used",
        got=got,
        hint="Use a new Idempotency-Key for a new submission.",
    )


def remember(session: Session, account: Account, route: str, key: str, submission: Submission) -> None:
    """Note what a call with an idempotency key created."""
    session.add(Idempotency(user_id=account.id, route=route, key=key, submission_id=submission.id))


def recover(session: Session) -> None:
    """After a start: queue again what was being scored, and give up what was being received."""
    for submission_id in session.scalars(select(Submission.id).where(Submission.state == State.SCORING)).all():
        move(session, submission_id, State.SCORING, State.QUEUED, detail="the server was restarted")
    for submission_id in session.scalars(select(Submission.id).where(Submission.state == State.UPLOADING)).all():
        move(session, submission_id, State.UPLOADING, State.EXPIRED, detail="the server was restarted")


def queue_place(session: Session, created_at: datetime) -> int:
    """Return how many queued or running submissions came no later than this moment."""
    waiting = Submission.state.in_([State.QUEUED, State.SCORING])
    count = select(func.count()).where(waiting, Submission.created_at <= created_at)
    return session.scalar(count) or 0
