"""Recovery of interrupted work: at the start of a server, and periodically while it runs."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from app.accounts import deleted_accounts
from app.errors import StorageAwayError
from app.scoring import lost_evaluations, queue, rescoring
from app.submissions import files, lifecycle, multipart

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from app.db.presence import Presence
    from app.db.sessions import Database
    from app.submissions.storage import Storage


SWEEP_SECONDS = 3600.0
"""Seconds between two sweeps of stored files without a reference."""


class OrphanSweep:
    """Deletes what killed processes have left among the stored files: at the first call, and then every `SWEEP_SECONDS`."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._due = time.monotonic()

    def sweep_if_due(self) -> None:
        """Make one sweep if it is due; if it fails, the next call tries again."""
        if time.monotonic() < self._due or self._storage.is_away():
            return
        with suppress(StorageAwayError):  # logged
            files.delete_orphans(self._database, self._storage)
            self._storage.delete_incomplete()
            self._due = time.monotonic() + SWEEP_SECONDS


def recover_at_start(database: Database, storage: Storage, presence: Presence) -> None:
    """Clean up what an earlier server process left unfinished, and queue the missing rescorings; call this before scoring starts.

    Single uploads that had not arrived completely expire. Stored files to which no submission refers are deleted. The hashed
    identities of accounts that were deleted at least 90 days ago are deleted too, except those of banned users.

    If no other process uses the database, claimed evaluations are requeued, because the processes that ran them have ended.
    Otherwise the workers look after their evaluations.
    """
    with database.write() as session:
        session.connection()  # takes the write lock
        if presence.is_alone:
            queue.requeue_abandoned(session)
        lifecycle.expire_single_uploads(session, presence.arriving())
        rescoring.queue_rescorings(session)
        deleted_accounts.forget_identities(session)
    OrphanSweep(database, storage).sweep_if_due()


def expire_multipart_uploads(database: Database, storage: Storage) -> None:
    """Expire multipart uploads that were not completed in time; delete the upload parts of all completed and expired uploads."""
    # Stored upload parts are listed before rows: an upload that starts in between has written its row before its first part.
    with_parts = _uploads_with_parts(storage)
    with database.write() as session:
        multipart.expire_overdue(session)
        open_uploads = multipart.open_upload_ids(session)
    for upload in with_parts:
        if upload not in open_uploads:
            storage.delete_parts(upload)


def _uploads_with_parts(storage: Storage) -> list[str]:
    try:
        return [] if storage.is_away() else storage.upload_ids()
    except StorageAwayError:  # logged; the parts are deleted when the store is in reach again
        return []


def recover_lost(database: Database, running: AbstractSet[int] | None, presence: Presence) -> None:
    """Requeue the claimed evaluations that no worker is running, and expire the single uploads whose connection is closed.

    Such evaluations and uploads remain if their end could not be saved, for instance because the database was locked, or if the
    workers in other processes have died.

    Parameters
    ----------
    running
        Ids of the evaluations that this server is running; None if only workers in other processes score.
    presence
        Knows the submissions whose file is arriving in a single request.
    """
    with database.write() as session:
        session.connection()
        # Ids are added to `running` and to the arriving uploads only under this write lock, so nobody owns any other row.
        if running is not None:
            queue.requeue_abandoned(session, frozenset(running))
        lifecycle.expire_single_uploads(session, presence.arriving())
    if running is None:
        lost_evaluations.recover(database, lost_evaluations.STALLED_SECONDS)
