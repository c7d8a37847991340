"""Submissions: reserved, accepted, moved from state to state, and found again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from app.db.changes import note_change
from app.db.models import TRANSITIONS, Evaluation, Event, Kind, State, Submission, Version, Visibility
from app.db.uploads import Upload
from app.submissions import files, provenance
from app.submissions.visibility import set_visibility
from ldsboard import result
from ldsboard.formats import read_header
from ldsboard.problems import ProblemError
from ldsboard.scores import check_shape

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from app.accounts.quotas import Quotas
    from app.accounts.users import Account
    from app.submissions.storage import Arrival, Storage


@dataclass(frozen=True)
class Entry:
    """What a caller says of a score file; size, sha256 and origin are None where they are not said."""

    benchmark: str
    method: str
    title: str
    kind: Kind
    cost: dict[str, Any] | None
    size: int | None
    origin: dict[str, Any] | None = None
    visibility: Visibility = Visibility.PUBLIC
    sha256: str | None = None
    description: str = ""
    tags: Sequence[str] = ()


def check_start(version: Version, start: bytes, size: int | None) -> None:
    """Refuse a file whose first bytes or size already tell that it cannot be scored against `version`.

    Parameters
    ----------
    start
        The first bytes of the file, `HEADER_LIMIT` of them unless the file is shorter.
    size
        Bytes of the whole file; None while that is not known.
    """
    header = read_header(start, size)
    check_shape(header.shape, version.manifest["n_train"], version.manifest["n_targets"])


def check_quota(session: Session, account: Account, version: Version, entry: Entry, quotas: Quotas) -> bool:
    """Check that its owner may send a submission, and tell whether it takes a place.

    A file that its owner has sent already does not; whether what is announced is that file is seen when it has arrived.

    Raises
    ------
    ProblemError
        ``quota.exceeded``, ``quota.bytes`` or ``quota.uploads``.
    """
    quotas.check_uploads(session, account.id)
    if (
        entry.sha256 is not None
        and provenance.find_duplicate(session, account.id, version, entry, entry.sha256) is not None
    ):
        return False
    if entry.kind is Kind.RANKED:
        quotas.check(session, account.id, version)
    quotas.check_bytes(session, account.id, entry.size or 0)
    return True


def reserve(session: Session, account: Account, version: Version, entry: Entry, quotas: Quotas) -> Submission:
    """Make room for a submission whose bytes are about to come; its owner's quotas are checked and counted here.

    Raises
    ------
    ProblemError
        ``quota.exceeded``, ``quota.bytes`` or ``quota.uploads``.
    """
    submission = Submission(
        counted=check_quota(session, account, version, entry, quotas),
        user_id=account.id,
        version_id=version.id,
        kind=entry.kind,
        method=entry.method,
        title=entry.title or entry.method,
        description=entry.description,
        tags=list(entry.tags),
        cost=entry.cost,
        size=entry.size or 0,
    )
    session.add(submission)
    session.flush()
    set_visibility(session, submission, entry.visibility)
    session.add(Event(submission_id=submission.id, before=None, after=State.UPLOADING))
    provenance.add_provenance(session, submission.id, entry.origin)
    return submission


def accept(
    session: Session, storage: Storage, submission_id: str, arrival: Arrival, sha256: str, quotas: Quotas
) -> str:
    """Take a file that has arrived whole, queue its evaluation, and return the id of the submission that stands for it.

    That is an earlier one if the owner has sent the same file already; the new one is then given up, and costs nothing.

    Raises
    ------
    ProblemError
        ``upload.interrupted``: the submission was given up meanwhile. ``scores.truncated``, for a compressed file.
        ``quota.exceeded``: it was to be one that is there already, which was withdrawn meanwhile. ``quota.bytes``: the same,
        or a compressed file, whose size was not known.
    """
    submission = session.get_one(Submission, submission_id)
    known = provenance.find_duplicate(session, submission.user_id, submission.version, submission, sha256)
    if known is None and not submission.counted:
        if submission.kind == Kind.RANKED:
            quotas.check(session, submission.user_id, submission.version)
        submission.counted = True
    after = State.QUEUED if known is None else State.EXPIRED
    detail = None if known is None else f"the same file as {known.id}"
    if not move(session, submission_id, State.UPLOADING, after, detail=detail):
        raise ProblemError(
            "upload.interrupted",
            expected="a submission that still waits for its file",
            got="one that was given up",
            hint="Send the file again.",
        )
    check_start(submission.version, arrival.start, arrival.size)
    if known is not None:
        provenance.copy_provenance(session, submission_id, known.id)
        return known.id
    quotas.check_bytes(session, submission.user_id, arrival.size)
    files.hold_file(session, storage, submission, arrival, sha256)
    session.add(
        Evaluation(submission_id=submission_id, version_id=submission.version_id, scorer_version=result.SCORER_VERSION)
    )
    return submission_id


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
    note_change(session, submission_id)
    return True


def recover(session: Session, streaming: Collection[str] = ()) -> None:
    """Give up what was to come in one piece and does not come any more, `streaming` being what does."""
    torn = select(Submission.id).where(
        Submission.state == State.UPLOADING,
        Submission.id.not_in(select(Upload.submission_id)),
        Submission.id.not_in(streaming),
    )
    for submission_id in session.scalars(torn).all():
        move(session, submission_id, State.UPLOADING, State.EXPIRED, detail="its upload had ended")
