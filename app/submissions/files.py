"""The stored files: how many submissions refer to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import File, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from app.submissions.storage import Arrival, Storage


def hold_file(session: Session, storage: Storage, submission: Submission, arrival: Arrival, sha256: str) -> None:
    """Move what has arrived to its place, and let a submission refer to it."""
    file = session.get(File, sha256)
    if file is None:
        session.add(File(sha256=sha256, size=arrival.size, references=1))
    else:
        file.references += 1
    session.flush()
    arrival.keep(storage.path(sha256))
    submission.file_sha256 = sha256
    submission.size = arrival.size


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
