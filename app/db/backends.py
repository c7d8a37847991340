"""What differs between the databases: how a connection is set up, how a transaction begins, and how commits are noticed."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from sqlalchemy import URL, Connection
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

WRITE_LOCK = 0x1D5B0A2D
"""Key of the advisory lock that all writing transactions on PostgreSQL take. Other software must not use this key."""

COMMITS = "ldsboard_commits"
"""Channel on which every writing transaction on PostgreSQL sends a notification at its commit."""


DISK_FULL, LOCK_NOT_AVAILABLE = "53100", "55P03"
"""Error codes of PostgreSQL, see https://www.postgresql.org/docs/15/errcodes-appendix.html."""


class Backend(Protocol):
    """A kind of database. All kinds have one writer at a time, so that the service has the same races on all of them."""

    def configure(self, connection: Any) -> None:
        """Set up a new connection of the driver."""

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Begin a transaction; a writing transaction waits for the write lock of the database."""

    def before_commit(self, connection: Connection) -> None:
        """Arrange that other processes notice the commit of a writing transaction."""

    def after_commit(self) -> None:
        """Count a commit of this process."""

    def revision(self, engine: Engine) -> int:
        """Return a number that differs from the previous call's number if any process may have committed in between.

        A commit of this process counts at once, that of another process after some milliseconds. All calls come from one thread.
        """

    def close(self) -> None:
        """Close the connection that `revision` uses."""


class SQLite:
    """SQLite, in one file."""

    def __init__(self, busy_seconds: float) -> None:
        self._busy_seconds = busy_seconds
        self._watcher: PoolProxiedConnection | None = None

    def configure(self, connection: Any) -> None:
        """Set the pragmas of a new connection."""
        # None keeps the driver from beginning transactions itself. The driver would begin a transaction only at the first write,
        # too late for the write lock.
        connection.isolation_level = None
        timeout = f"busy_timeout = {round(1000 * self._busy_seconds)}"
        for pragma in (timeout, "journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Begin a transaction; a writing transaction takes the write lock at once."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    def before_commit(self, connection: Connection) -> None:
        """Do nothing: SQLite counts commits itself."""

    def after_commit(self) -> None:
        """Do nothing: SQLite counts commits itself."""

    def revision(self, engine: Engine) -> int:
        """Return the number of commits that this connection has seen."""
        if self._watcher is None:
            self._watcher = engine.raw_connection()
        (version,) = self._watcher.cursor().execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Close the connection that `revision` uses."""
        if self._watcher is not None:
            self._watcher.close()


class PostgreSQL:
    """PostgreSQL, through psycopg."""

    def __init__(self, busy_seconds: float) -> None:
        self._busy_seconds = busy_seconds
        self._watcher: PoolProxiedConnection | None = None
        self._process = secrets.token_hex(8)  # tells notifications of this process from those of others
        self._commits = 0
        self._counting = threading.Lock()

    def configure(self, connection: Any) -> None:
        """Set the time zone and the longest wait for a lock of a new connection."""
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SET lock_timeout = {round(1000 * self._busy_seconds)}")
        connection.commit()

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Take the write lock, or fix the snapshot that a reading transaction sees."""
        if writing:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def before_commit(self, connection: Connection) -> None:
        """Send a notification, which PostgreSQL delivers when the transaction is committed."""
        connection.exec_driver_sql(f"NOTIFY {COMMITS}, '{self._process}'")

    def after_commit(self) -> None:
        """Count a commit of this process at once, because its notification arrives later."""
        with self._counting:
            self._commits += 1

    def revision(self, engine: Engine) -> int:
        """Return the number of commits of this process, and of notifications of others on a connection of its own.

        While PostgreSQL cannot be reached, each call returns another number.
        """
        try:
            found = self._notifications(engine)
        except (OperationalError, psycopg.OperationalError):
            self.close()
            found = 1
        with self._counting:
            self._commits += found
            return self._commits

    def _notifications(self, engine: Engine) -> int:
        """Return the number of notifications of other processes since the last call; at least 1 for a new connection."""
        missed = 0
        if self._watcher is None:
            self._watcher = engine.raw_connection()
            self._watcher.driver_connection.set_autocommit(True)  # type: ignore[union-attr]
            self._watcher.cursor().execute(f"LISTEN {COMMITS}")
            missed = 1  # a commit may have been missed while no connection listened
        arrived = self._watcher.driver_connection.notifies(timeout=0)  # type: ignore[union-attr]
        return missed + sum(bool(notification.payload != self._process) for notification in arrived)

    def close(self) -> None:
        """Close the connection that `revision` uses."""
        if self._watcher is not None:
            self._watcher.invalidate()
            self._watcher = None


def is_full(error: OperationalError) -> bool:
    """Return whether a statement failed because the disk of the database is full."""
    return _sqlite_code(error) == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == DISK_FULL


def is_busy(error: OperationalError) -> bool:
    """Return whether a statement failed because another process held the write lock for too long."""
    return _sqlite_code(error) == sqlite3.SQLITE_BUSY or getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE


def _sqlite_code(error: OperationalError) -> int:
    # The lower byte is the error; the upper bytes distinguish its cases.
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def backend_of(url: URL, busy_seconds: float) -> Backend:
    """Return the backend of a database; its sessions wait at most `busy_seconds` for a lock."""
    return (SQLite if url.get_backend_name() == "sqlite" else PostgreSQL)(busy_seconds)
