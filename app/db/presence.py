"""Which processes use a database: servers that share it, the one that leads them, their workers, and the uploads they receive.

On PostgreSQL all of this is advisory locks on a connection that belongs to the process, so that it ends with the process. A file
of SQLite has one server, which the lock of the data folder ensures.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from sqlalchemy import bindparam, text

from app.db.backends import own_connection
from app.db.database_errors import is_away
from app.db.migration import MigrationError, revisions
from app.errors import BusyError, DatabaseAwayError, OtherFolderError

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from app.db.sessions import Database

SERVERS, WORKERS, LEADER = 0x1D5B0A2E, 0x1D5B0A2F, 0x1D5B0A31
"""Keys of advisory locks: shared by servers, shared by workers, and of the server that leads. No other software may use them."""

NAME = "ldsboard"
"""First part of the names under which PostgreSQL lists the connections that hold the locks."""

UPLOADS = 0x1D5B0A32
"""First of the two keys of the advisory lock for each single upload whose file is arriving."""

SCHEMAS = 0x1D5B0A34
"""First of the two keys of the shared lock of each server and worker; the second key is the newest revision that it knows."""

FOLDERS = 0x1D5B0A35
"""First of the two keys of the shared lock of each server and worker; the second key is the number of its data folder."""

START = secrets.token_hex(2)
"""Random digits of this process."""

LOCK_UPLOAD = "SELECT pg_advisory_lock_shared(%s, %s)"
"""Statement that takes the lock of an upload. It is shared, because uploads with the same second key must not wait."""


class Use(Enum):
    """How a process uses a database: alone, as one of several servers, or as a worker."""

    ALONE = "alone"
    SERVER = "server"
    WORKER = "worker"


class Presence:
    """A process among those that use a database. All methods are thread-safe.

    Parameters
    ----------
    folder
        The number of the data folder of a server or worker (`app.data_lock.folder_id`).

    Raises
    ------
    RuntimeError
        The process wants to use the database alone, and others use it; another process uses it alone; or others use it with
        another data folder.
    """

    def __init__(self, database: Database, use: Use, folder: int | None = None) -> None:
        self._engine = database.engine
        self._is_postgresql = self._engine.dialect.name == "postgresql"
        self._use, self._folder = use, folder
        self._uploads: set[str] = set()
        self._lock = threading.Lock()
        self._connection: Any = None
        self._leading = False
        if self._is_postgresql:
            self._schema = int(revisions()[0])  # once: the folder of a running process may get a later release
            self._connect()

    @property
    def is_alone(self) -> bool:
        """Whether no other server and no worker can use the database while this process does."""
        return self._use == Use.ALONE

    def leads(self) -> bool:
        """Return whether this process does what only one server may do: recovery, retention and the calls of webhooks.

        The first server that asks leads until it ends or loses its connection. Without PostgreSQL, the only server leads.
        """
        if not self._is_postgresql:
            return True
        with self._lock:
            try:
                if self._leading:
                    self._execute("SELECT 1")
                else:
                    self._leading = self._execute("SELECT pg_try_advisory_lock(%s)", LEADER)
            except (psycopg.Error, RuntimeError):  # the next call tries again
                return False
            return self._leading

    def renew(self) -> None:
        """Take the locks again if the connection was lost.

        Raises
        ------
        RuntimeError, psycopg.OperationalError
            Another process now uses the database alone; the database is away.
        """
        if self._is_postgresql:
            with self._lock:
                self._execute("SELECT 1")

    def add(self, submission_id: str) -> None:
        """Note that the file of a single upload is arriving in this process; call this before the upload's row is committed."""
        with self._lock:
            self._uploads.add(submission_id)
            if self._is_postgresql:
                try:
                    self._execute(f"{LOCK_UPLOAD} IS NULL", UPLOADS, _key(submission_id))
                except psycopg.Error as error:
                    raise (DatabaseAwayError() if is_away(error) else BusyError()) from error

    def discard(self, submission_id: str) -> None:
        """Note that a single upload has ended."""
        with self._lock:
            self._uploads.discard(submission_id)
            if self._is_postgresql:
                with suppress(psycopg.Error):  # a lost connection has lost the lock
                    self._connection.execute("SELECT pg_advisory_unlock_shared(%s, %s)", (UPLOADS, _key(submission_id)))

    def arriving(self) -> Container[str]:
        """Return the ids of the single uploads that arrive in any process now."""
        if not self._is_postgresql:
            return frozenset(self._uploads)
        query = (
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with self._lock:
            self._execute("SELECT 1")
            return _Arriving({key for (key,) in self._connection.execute(query, (UPLOADS,))})

    def close(self) -> None:
        """Leave the database to others."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _execute(self, query: str, *keys: int) -> bool:
        """Execute a query on the connection, or on a new one with the same locks if the connection is lost."""
        try:
            return bool(self._connection.execute(query, keys).fetchone()[0])
        except psycopg.OperationalError:
            self._connection.close()
            self._connect()
            return bool(self._connection.execute(query, keys).fetchone()[0])

    def _connect(self) -> None:
        self._leading = False
        self._connection = connection = own_connection(self._engine)
        name = f"{NAME}/{self._use.value}/{process_name()}"
        connection.execute("SELECT set_config('application_name', %s, false)", (name,))
        shared = {Use.SERVER: [SERVERS], Use.WORKER: [WORKERS], Use.ALONE: []}[self._use]
        exclusive = [] if shared else [SERVERS, WORKERS]
        queries = [("SELECT pg_try_advisory_lock_shared(%s)", shared), ("SELECT pg_try_advisory_lock(%s)", exclusive)]
        for query, keys in queries:
            for key in keys:
                if not connection.execute(query, (key,)).fetchone()[0]:
                    connection.close()
                    raise RuntimeError(
                        "Another server or worker uses the database in LDSBOARD_DATABASE_URL. Stop it, or set "
                        "LDSBOARD_DATABASE_URL to another database. Only servers with LDSBOARD_SCORING_PROCESSES=0 share one."
                    )
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (SCHEMAS, self._schema))
        if self._folder is not None:
            # Locked before the look at the others, so that of two processes that start at once, at least one sees the other.
            connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", (FOLDERS, self._folder))
            if _is_used_elsewhere(connection, self._folder):
                connection.close()
                raise OtherFolderError
        for submission_id in self._uploads:
            connection.execute(LOCK_UPLOAD, (UPLOADS, _key(submission_id)))


def process_name() -> str:
    """Return the name of this process for the operator: HOST/PID. A container's process 1 is told from that before a restart."""
    pid = os.getpid()
    return f"{socket.gethostname()[:30]}/{pid if pid > 1 else f'1-{START}'}"


def check_folder(connection: Connection, folder: int | None) -> None:
    """Raise OtherFolderError if servers or workers use this PostgreSQL database with another data folder than `folder`."""
    if _is_used_elsewhere(connection.connection.driver_connection, folder):
        raise OtherFolderError


def _is_used_elsewhere(connection: Any, folder: int | None) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2 AND granted "
        "AND objid::bigint <> %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    return bool(connection.execute(query, (FOLDERS, -1 if folder is None else folder % 2**32)).fetchone()[0])


OLDEST_SCHEMA = text(
    "SELECT min(objid::bigint) FROM pg_locks WHERE locktype = 'advisory' AND classid = :key AND objsubid = 2 AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


SILENT_SECONDS = 60.0
"""Seconds without a sign of life, given every few seconds, after which a process counts as frozen or cut off."""


class Process(NamedTuple):
    """A server or worker that is connected to PostgreSQL. `is_silent`: its last sign of life is `SILENT_SECONDS` old."""

    use: str
    host: str
    pid: str
    since: datetime
    seen_at: datetime
    is_silent: bool
    leads: bool


PROCESSES = text(
    "SELECT application_name, backend_start, coalesce(state_change, backend_start), "
    "coalesce(state_change < clock_timestamp() - make_interval(secs => :silent), false), "
    "bool_or(objid = :leader) FROM pg_locks JOIN pg_stat_activity USING (pid) "
    "WHERE locktype = 'advisory' AND classid = 0 AND objsubid = 1 AND granted "
    "AND objid IN :keys AND datname = current_database() AND application_name LIKE :name "
    "GROUP BY pid, application_name, backend_start, state_change ORDER BY application_name, backend_start"
).bindparams(bindparam("keys", expanding=True))


def processes(session: Session) -> list[Process]:
    """Return the servers and workers that are connected to a database; empty for SQLite, which one server uses."""
    if session.get_bind().dialect.name != "postgresql":
        return []
    values = {"leader": LEADER, "keys": [SERVERS, WORKERS, LEADER], "name": f"{NAME}/%", "silent": SILENT_SECONDS}
    return [Process(*name.split("/")[1:], *found) for name, *found in session.execute(PROCESSES, values)]


def count_workers(session: Session) -> int:
    """Return the number of workers that are connected to the database and not silent."""
    return sum(process.use == Use.WORKER.value and not process.is_silent for process in processes(session))


def check_running(connection: Connection, oldest: str | None) -> None:
    """Check that all running servers and workers can use the schema to which a transaction has migrated the database.

    For SQLite nothing is checked: the operator stops the only server first.

    Parameters
    ----------
    oldest
        The oldest revision whose code can use the schema, if known.

    Raises
    ------
    MigrationError
        A server or a worker belongs to an older release.
    """
    if connection.dialect.name != "postgresql" or oldest is None:
        return
    running = connection.scalar(OLDEST_SCHEMA, {"key": SCHEMAS})
    if running is not None and running < int(oldest):
        raise MigrationError(
            f"The database is not migrated: a server or worker of an earlier release, of schema {running:04}, uses it, and the "
            f"new schema needs schema {oldest} or later. Stop all servers and workers of earlier releases, or upgrade to the "
            "releases in between first (docs/how-to/operate.md)."
        )


class _Arriving:
    """The ids of uploads, of which the second keys of their locks are known."""

    def __init__(self, keys: set[int]) -> None:
        self._keys = keys

    def __contains__(self, submission_id: object) -> bool:
        return _key(str(submission_id)) % 2**32 in self._keys


def _key(submission_id: str) -> int:
    """Return the second key of the lock of an upload, 32 bits with a sign. Two uploads with one key only end later."""
    return int.from_bytes(bytes.fromhex(submission_id[:8]), signed=True)
