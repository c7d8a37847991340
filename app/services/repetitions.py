"""Calls that are made again under the same idempotency key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import Idempotency, State, Submission
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.services.accounts import Account
    from app.services.submissions import Entry


def earlier(session: Session, account: Account, route: str, key: str | None, entry: Entry) -> Submission | None:
    """Return what the same call with the same idempotency key created, if it was made before and came to anything.

    Raises
    ------
    ProblemError
        ``request.conflict``: the key was used for something else.
    """
    known = None if key is None else session.get(Idempotency, (account.id, route, key))
    if known is None:
        return None
    submission = session.get_one(Submission, known.submission_id)
    if submission.state == State.EXPIRED:
        return None
    # How long a compressed file is in full is not known before it has arrived.
    size = submission.size if entry.size is None else entry.size
    if (submission.method, submission.kind, submission.size) != (entry.method, entry.kind, size):
        raise conflict(f"{entry.method}, {entry.kind}, {size} bytes")
    return submission


def remember(session: Session, account: Account, route: str, key: str | None, submission: Submission) -> None:
    """Note what a call with an idempotency key created, in place of what came to nothing."""
    if key is not None:
        session.merge(Idempotency(user_id=account.id, route=route, key=key, submission_id=submission.id))


def check_repeated(submission: Submission, sha256: str) -> None:
    """Raise ``request.conflict`` if a file that came under a used idempotency key is not the one that came first.

    While the first is still on its way, and after it was rejected, there is nothing to compare with.
    """
    if submission.file_sha256 not in (None, sha256):
        raise conflict("another file of the same size")


def conflict(got: str) -> ProblemError:
    """Return the error of a used key in another call."""
    return ProblemError(
        "request.conflict",
        expected="the same method, kind and file as when the Idempotency-Key was first used",
        got=got,
        hint="Use a new Idempotency-Key for a new submission.",
    )
