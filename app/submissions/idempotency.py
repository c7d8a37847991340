"""Idempotency keys: a call that repeats an earlier call's key returns the submission that the earlier call created."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from app.db.models import State, Submission
from app.db.uploads import Idempotency
from app.submissions.repeats import check_repeat
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.submissions.fields import SubmissionRequest

UNSUCCESSFUL = frozenset({State.EXPIRED, State.WITHDRAWN, State.FAILED})
"""If the submission stored for a key is in one of these states, a repeated call creates a new submission for the key."""


class Key(NamedTuple):
    """An Idempotency-Key of a user for a route."""

    user_id: int
    route: str
    key: str


def find_by_key(session: Session, key: Key | None, request: SubmissionRequest) -> Submission | None:
    """Return the submission that resulted from an earlier call with this key; for a duplicate, that is an earlier submission.

    The result is None if `key` is None, if no earlier call had this key, or if the state of the earlier submission is in
    `UNSUCCESSFUL`. If the result is None, the caller should create a new submission.

    Parameters
    ----------
    request
        The submission that the present call asks for.

    Raises
    ------
    ProblemError
        ``request.conflict``: the earlier call had another benchmark, method, kind, visibility or size.
        Also the errors of `check_repeat`.
    """
    stored = None if key is None else session.get(Idempotency, key)
    if stored is None:
        return None
    submission = session.get_one(Submission, stored.submission_id)
    if submission.state in UNSUCCESSFUL:
        return None
    earlier = (submission.version.benchmark.name, submission.method, submission.kind, submission.visibility)
    repeated = (request.benchmark, request.method, request.kind, request.visibility)
    # The size of a compressed file is unknown until the file has arrived.
    size = submission.size if request.size is None else request.size
    if (earlier, submission.size) != (repeated, size):
        length = "unknown size" if size is None else f"size {size} bytes"
        names = f"benchmark {request.benchmark!r}, method {request.method!r}"
        raise key_conflict(f"{names}, kind '{request.kind}', visibility '{request.visibility}' and {length}")
    check_repeat(session, submission, request)
    return submission


def store_key(session: Session, key: Key | None, submission: Submission) -> None:
    """Store the submission that resulted from a call with this key, and the SHA-256 of its file if the file has arrived.

    A submission that was stored for the key before is replaced. If `key` is None, nothing is stored.
    """
    if key is not None:
        session.merge(Idempotency(**key._asdict(), submission_id=submission.id, sha256=submission.file_sha256))


def check_same_file(session: Session, key: Key | None, sha256: str) -> None:
    """Raise ``request.conflict`` if a file sent with a used idempotency key differs from the first file sent with that key.

    While the first file is still arriving, the stored hash is None and any file passes.
    """
    stored = None if key is None else session.get(Idempotency, key)
    if stored is not None and stored.sha256 not in (None, sha256):
        raise key_conflict("another file of the same size")


def key_conflict(got: str) -> ProblemError:
    """Return the error for a key that a different call has used; `got` describes the present call."""
    return ProblemError(
        "request.conflict",
        f"The Idempotency-Key belongs to a call with another benchmark, method, kind, visibility or file. This call has {got}.",
        "Use a new Idempotency-Key for a new submission.",
    )
