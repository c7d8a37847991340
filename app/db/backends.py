"""What differs between the databases: how a connection is set up, how a transaction begins, and how commits are noticed."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from sqlalchemy import URL, Connection
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from app.db.database_errors import is_away, is_busy
from app.db.notifications import Listener, notify_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine
    from sqlalchemy.pool import PoolProxiedConnection

    from app.db.changes import Changes

WRITE_LOCK = 0x1D5B0A2D
"""Key of the advisory lock of each writing transaction on PostgreSQL. No other software may use it."""

COMMITS = "ldsboard_commits"
"""Channel on which every writing transaction on PostgreSQL that changes rows sends a notification at its commit."""

OLDEST = 120000
"""Oldest version of PostgreSQL: earlier ones print 15 digits of a float64, so that a stored LDS would change."""

RANKING = 0x1D5B0A33
"""First of the two keys of the advisory lock of a process that ranks a board; the second key is the id of the version."""

RANKING_WAIT_SECONDS = 10
"""Seconds after which a process ranks a board although another process seems to rank it."""

IDLE_SECONDS = 60
"""Seconds after which PostgreSQL ends a writing transaction of a server or a worker that executes no statement. A process that is
frozen while it holds the write lock would otherwise hold up all others until it goes on."""


class Backend(Protocol):
    """A kind of database. All kinds have one writer at a time, so that the service has the same races on all of them."""

    connect_args: Mapping[str, Any]
    """Arguments for the driver's function that opens a connection."""

    def configure(self, connection: Any) -> None:
        """Set up a new connection of the driver."""

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Begin a transaction; a writing transaction waits for the write lock of the database."""

    def before_commit(self, connection: Connection) -> None:
        """Arrange that other processes notice the commit of a writing transaction."""

    def after_commit(self) -> None:
        """Count the commit of this process that `before_commit` was called for."""

    def revision(self, engine: Engine) -> int:
        """Return a number that differs from the previous call's number if any process may have committed in between.

        A commit of this process counts at once, that of another process after some milliseconds. All calls come from one thread.
        """

    def notify(self, connection: Connection, submission_ids: Iterable[str]) -> None:
        """Arrange that other processes hear which submissions the transaction changes, once it commits."""

    def listen(self, engine: Engine, changes: Changes) -> None:
        """From now on, announce the changes of other processes."""

    def ranking(self, engine: Engine, version_id: int) -> AbstractContextManager[None]:
        """Wait until no other process ranks the board of a version, and keep others waiting for the ``with`` statement."""

    def unfit(self, connection: Any) -> str | None:
        """Return why the database cannot be used, or None."""

    def close(self) -> None:
        """Close the connections that do not belong to the pool."""


class SQLite:
    """SQLite, in one file."""

    connect_args: Mapping[str, Any] = {}

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

    def notify(self, connection: Connection, submission_ids: Iterable[str]) -> None:
        """Do nothing: requests find out themselves what an operator's command has changed."""

    def listen(self, engine: Engine, changes: Changes) -> None:
        """Do nothing, as `notify` does."""

    def ranking(self, engine: Engine, version_id: int) -> AbstractContextManager[None]:  # noqa: ARG002 -- see below
        """Do nothing: a file has one server, and two rankings by an operator's command and the server do no harm."""
        return nullcontext()

    def unfit(self, connection: Any) -> str | None:  # noqa: ARG002 -- every SQLite that Python has will do
        """Return None."""
        return None

    def close(self) -> None:
        """Close the connection that `revision` uses."""
        if self._watcher is not None:
            self._watcher.close()


class PostgreSQL:
    """PostgreSQL, through psycopg."""

    # A network that drops packets must not hold up a thread, and with it the write lock, for hours.
    connect_args: Mapping[str, Any] = {
        "client_encoding": "UTF8",  # without it, psycopg returns the texts of an SQL_ASCII database as bytes
        "connect_timeout": 5,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }

    def __init__(self, busy_seconds: float, *, serving: bool) -> None:
        self._busy_milliseconds = max(1, round(1000 * busy_seconds))  # 0 would mean to wait for ever
        self._idle_seconds = IDLE_SECONDS if serving else 0
        self._watcher: Any = None
        self._connecting: threading.Thread | None = None
        self._listener: Listener | None = None
        self._process = secrets.token_hex(8)  # tells notifications of this process from those of others
        self._has_changed = False
        self._commits = 0
        self._counting = threading.Lock()

    def configure(self, connection: Any) -> None:
        """Set the time zone, the longest wait for a lock, and the digits of floats of a new connection."""
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SET lock_timeout = {self._busy_milliseconds}")
            cursor.execute("SET extra_float_digits = 1")  # all digits of a float64, also if the operator chose fewer
        connection.commit()

    def begin(self, connection: Connection, *, writing: bool) -> None:
        """Take the write lock, or fix the snapshot that a reading transaction sees."""
        if writing:
            # READ COMMITTED: the transaction must see what was committed while it waited for the lock.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
            limit = f"set_config('idle_in_transaction_session_timeout', '{self._idle_seconds}s', true)"
            connection.exec_driver_sql(f"SELECT {limit}, pg_advisory_xact_lock({WRITE_LOCK})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def before_commit(self, connection: Connection) -> None:
        """If the transaction has changed rows, send a notification, which PostgreSQL delivers after the commit."""
        # Only a transaction that changes rows has an id.
        notify = f"SELECT pg_notify('{COMMITS}', '{self._process}') WHERE txid_current_if_assigned() IS NOT NULL"
        self._has_changed = connection.exec_driver_sql(notify).first() is not None

    def after_commit(self) -> None:
        """Count a commit that has changed rows at once, because its notification arrives later."""
        with self._counting:
            self._commits += self._has_changed
        self._has_changed = False

    def revision(self, engine: Engine) -> int:
        """Return the number of commits of this process, and of notifications of others on a connection of its own.

        While there is no such connection, each call returns another number. A lost connection is opened again in a thread.
        """
        found = 1
        if self._watcher is not None:
            try:
                arrived = self._watcher.notifies(timeout=0)
                found = sum(bool(notification.payload != self._process) for notification in arrived)
            except psycopg.Error:
                self._watcher = None
        elif self._connecting is None or not self._connecting.is_alive():
            self._connecting = threading.Thread(target=self._listen, args=[engine], daemon=True)
            self._connecting.start()
        with self._counting:
            self._commits += found
            return self._commits

    def _listen(self, engine: Engine) -> None:
        """Open the connection that `revision` uses."""
        try:
            watcher = own_connection(engine)
            watcher.execute(f"LISTEN {COMMITS}")
        except (OperationalError, NoConnectionError, psycopg.Error):
            return  # the next call of `revision` tries again
        self._watcher = watcher

    def notify(self, connection: Connection, submission_ids: Iterable[str]) -> None:
        """Send the ids in a notification."""
        notify_changes(connection, self._process, submission_ids)

    def listen(self, engine: Engine, changes: Changes) -> None:
        """Start a thread that receives the notifications."""

        def hear(submission_ids: Iterable[str] | None) -> None:
            # First, so that whoever hears of a change finds no page in the cache that lacks it.
            with self._counting:
                self._commits += 1
            changes.announce(submission_ids)

        self._listener = Listener(lambda: own_connection(engine), self._process, hear)

    @contextmanager
    def ranking(self, engine: Engine, version_id: int) -> Iterator[None]:
        """Hold an advisory lock in a transaction of its own, which ends with the process, or once it was frozen for long.

        The wait is limited, because two rankings at the same time are only a waste.
        """
        with engine.connect() as connection:
            limits = {"idle_in_transaction_session_timeout": self._idle_seconds, "lock_timeout": RANKING_WAIT_SECONDS}
            for name, seconds in limits.items():
                connection.exec_driver_sql(f"SELECT set_config('{name}', '{seconds}s', true)")
            try:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({RANKING}, {version_id:d})")
            except OperationalError as error:
                if not (is_busy(error) or is_away(error)):
                    raise
            yield

    def unfit(self, connection: Any) -> str | None:
        """Return why the database cannot be used: its version or its encoding."""
        if connection.info.server_version < OLDEST:
            return f"PostgreSQL 12 or newer is needed, and {connection.info.server_version // 10000} was found."
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            how = "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
            return f"The database has the encoding {encoding}, and UTF8 is needed. Create it anew with {how}."
        return None

    def close(self) -> None:
        """Close the connections of `revision` and `listen`."""
        if self._listener is not None:
            self._listener.stop()
        if self._connecting is not None:
            self._connecting.join()
        if self._watcher is not None:
            self._watcher.close()
        self._watcher = None


def own_connection(engine: Engine) -> Any:
    """Return a new connection of psycopg that does not belong to the pool, without transactions."""
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()
    connection.set_autocommit(True)
    return connection


def backend_of(url: URL, busy_seconds: float, *, serving: bool) -> Backend:
    """Return the backend of a database for a server or worker (`serving`) or a command; it waits `busy_seconds` for a lock."""
    return SQLite(busy_seconds) if url.get_backend_name() == "sqlite" else PostgreSQL(busy_seconds, serving=serving)
