"""Stored score files, deduplicated by SHA-256, with a count of the submissions that refer to each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.models import File, Submission
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.submissions.arrivals import Arrival
    from app.submissions.storage import Storage

BATCH = 20
"""Largest number of files that one transaction deletes: all writers wait meanwhile."""


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


def delete_unreferenced(database: Database, storage: Storage, hashes: Sequence[str]) -> None:
    """Delete each stored file whose SHA-256 is in `hashes`, if no submission refers to the file.

    The files are deleted in write transactions, so that no submission of any server can begin to refer to a file that is being
    deleted. Call this function after the transaction that removed the references: if the process is killed in between, no row
    refers to a deleted file. What cannot be deleted is noted for `delete_undeleted`.
    """
    for start in range(0, len(hashes), BATCH):
        batch = hashes[start : start + BATCH]
        try:
            with database.write() as session:
                # This query fails if PostgreSQL has ended the transaction, for instance because this process was frozen.
                referenced = set(session.scalars(select(File.sha256).where(File.sha256.in_(batch))))
                storage.delete_files([sha256 for sha256 in batch if sha256 not in referenced])
        except BaseException:
            storage.note_undeleted(hashes[start:])
            raise


def delete_undeleted(database: Database, storage: Storage) -> None:
    """Try again to delete the files that this process could not delete; only this process knows them."""
    delete_unreferenced(database, storage, storage.take_undeleted())


def delete_orphans(database: Database, storage: Storage) -> None:
    """Delete all stored files to which no submission refers, such as those that a killed process has left.

    Raises
    ------
    StorageAwayError
        The storage cannot be listed.
    """
    stored = storage.stored_hashes()  # outside of a transaction, because a store can take minutes for it
    with database.read() as session:
        known = set(session.scalars(select(File.sha256)))
    delete_unreferenced(database, storage, [sha256 for sha256 in stored if sha256 not in known])
