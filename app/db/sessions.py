"""Database sessions.

A read session sees a snapshot. A write session holds the write lock from its first statement and commits once, at its end.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.orm import Session

from app.db.changes import CHANGED_IDS, Changes
from app.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.pool import PoolProxiedConnection

POOL_SIZE, MAX_OVERFLOW = 16, 128
"""Number of database connections that stay open, and maximum number of further connections under load: 144 in total.

At most 40 worker threads, 24 requests between two calls of threads (`app.web.admission`) and 64 evaluators hold a connection.
Therefore no thread waits for a connection."""


class Database:
    """The database connections of one process.

    Parameters
    ----------
    busy_seconds
        Seconds that a session waits for the write lock. After this time the session raises BusyError if a thread of this process
        holds the lock, and OperationalError if another process holds the lock.
    """

    def __init__(self, url: str, busy_seconds: float = 30.0) -> None:
        # The parser of pydantic is several times as fast as the standard one; boards read hundreds of small JSON columns.
        self.engine = create_engine(url, pool_size=POOL_SIZE, max_overflow=MAX_OVERFLOW, json_deserializer=from_json)
        self._watcher: PoolProxiedConnection | None = None
        self.changes = Changes()
        self._busy_seconds = busy_seconds
        self._write_lock = threading.Lock()
        event.listen(self.engine, "connect", self._configure)
        event.listen(self.engine, "begin", _begin)
        self.writer = self.engine.execution_options(ldsboard_writing=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for reading; changes in this session are not saved."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits at the end of the block, or rolls back on an exception; announce the committed changes.

        The session holds the write lock of the database for the whole block. Never open a write session within another one: the
        inner session would wait for the lock of the outer session.

        Raises
        ------
        BusyError
            Other threads of this process held the write lock for `busy_seconds`.
        sqlalchemy.exc.OperationalError
            Another process held the write lock for `busy_seconds`.
        """
        # This lock is fair and wakes a waiting thread at once; SQLite would poll, with pauses of up to 100 ms.
        if not self._write_lock.acquire(timeout=self._busy_seconds):
            raise BusyError
        try:
            with Session(self.writer, expire_on_commit=False) as session, session.begin():
                yield session
        finally:
            self._write_lock.release()
        self.changes.announce(session.info.get(CHANGED_IDS, ()))

    def revision(self) -> int:
        """Return a number that differs from the previous call's number if any process has committed in between.

        The call does not wait for the write lock. All calls must come from one thread, because they share one connection.
        """
        if self._watcher is None:
            self._watcher = self.engine.raw_connection()
        (version,) = self._watcher.cursor().execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Close all connections."""
        if self._watcher is not None:
            self._watcher.close()
        self.engine.dispose()

    def _configure(self, connection: Any, _record: object) -> None:
        # None keeps the driver from beginning transactions itself. The driver would begin a transaction only at the first write,
        # too late for the write lock.
        connection.isolation_level = None
        timeout = f"busy_timeout = {round(1000 * self._busy_seconds)}"
        for pragma in (timeout, "journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("ldsboard_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
