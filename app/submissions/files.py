"""Stored score files, deduplicated by SHA-256, with a count of the submissions that refer to each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import File, Submission
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from app.submissions.arrivals import Arrival
    from app.submissions.storage import Storage


def store_file(session: Session, storage: Storage, submission: Submission, arrival: Arrival) -> None:
    """Store a received file for good, and let a submission refer to the file.

    Call this function in a write session, after `Arrival.flush`. An equal file that is stored already is replaced.
    """
    file = session.get(File, arrival.sha256)
    if file is None:
        session.add(File(sha256=arrival.sha256, size=arrival.size, references=1))
    else:
        file.references += 1
    session.flush()
    storage.keep(arrival)
    submission.file_sha256, submission.size = arrival.sha256, arrival.size


def release_file(session: Session, submission: Submission) -> str | None:
    """Remove a submission's reference to its file; the file itself is not deleted.

    Return the SHA-256 of the file if no submission refers to the file any more, otherwise None. The caller passes the SHA-256 to
    `delete_unreferenced` after the commit.
    """
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


def unusable_file(fault: str) -> Problem:
    """Return the problem that a submission fails with if its stored file cannot be scored.

    Parameters
    ----------
    fault
        What happened to the stored file: ``lost`` or ``damaged``.
    """
    return Problem(
        "internal.failed",
        f"The stored file is {fault}.",
        "Send the file again; a failed submission uses no quota of ranked or practice submissions.",
    )


def delete_unreferenced(session: Session, storage: Storage, hashes: Iterable[str]) -> None:
    """Delete each stored file whose SHA-256 is in `hashes`, if no submission refers to the file.

    Call this function in a write session, so that no submission can begin to refer to a file that is being deleted.
    """
    storage.delete_files([sha256 for sha256 in hashes if session.get(File, sha256) is None])
