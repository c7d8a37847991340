"""Calls that are made again under the same idempotency key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import Idempotency, State, Submission
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.users import Account
    from app.submissions.lifecycle import Entry

NOTHING = frozenset({State.EXPIRED, State.WITHDRAWN, State.FAILED})
"""States of what came to nothing, so that the same file may be sent again under the same key."""


def find_earlier(session: Session, account: Account, route: str, key: str | None, entry: Entry) -> Submission | None:
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
    if submission.state in NOTHING:
        return None
    # How long a compressed file is in full is not known before it has arrived.
    size = submission.size if entry.size is None else entry.size
    first = (
        submission.version.benchmark.name,
        submission.method,
        submission.kind,
        submission.visibility,
        submission.size,
    )
    again = (entry.benchmark, entry.method, entry.kind, entry.visibility, size)
    if first != again:
        raise key_conflict(", ".join(map(str, again)) + " bytes")
    return submission


def remember_submission(
    session: Session, account: Account, route: str, key: str | None, submission: Submission
) -> None:
    """Note what a call with an idempotency key created, in place of what came to nothing; and its file, once it is known."""
    if key is not None:
        session.merge(
            Idempotency(
                user_id=account.id, route=route, key=key, submission_id=submission.id, sha256=submission.file_sha256
            )
        )


def check_repeated(session: Session, account: Account, route: str, key: str, sha256: str) -> None:
    """Raise ``request.conflict`` if a file that came under a used idempotency key is not the one that came first.

    While the first is still on its way there is nothing to compare with.
    """
    if session.get_one(Idempotency, (account.id, route, key)).sha256 not in (None, sha256):
        raise key_conflict("another file of the same size")


def key_conflict(got: str) -> ProblemError:
    """Return the error of a used key in another call."""
    return ProblemError(
        "request.conflict",
        expected="the same benchmark, method, kind, visibility and file as when the Idempotency-Key was first used",
        got=got,
        hint="Use a new Idempotency-Key for a new submission.",
    )
