"""Database sessions.

A read session sees a snapshot. A write session holds the write lock from its first statement and commits once, at its end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.orm import Session

from app.db.changes import CHANGED_IDS, Changes

if TYPE_CHECKING:
    from collections.abc import Iterator


class Database:
    """The database connections of one process.

    Parameters
    ----------
    busy_seconds
        How long a session waits for the write lock of another session before it raises OperationalError.
    """

    def __init__(self, url: str, busy_seconds: float = 30.0) -> None:
        self.engine = create_engine(url)
        self.changes = Changes()
        self._busy_milliseconds = round(1000 * busy_seconds)
        event.listen(self.engine, "connect", self._configure)
        event.listen(self.engine, "begin", _begin)
        self.writer = self.engine.execution_options(ldsboard_writing=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session for reading only."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits at the end of the block, or rolls back on an exception; then announce its changes."""
        with Session(self.writer, expire_on_commit=False) as session, session.begin():
            yield session
        self.changes.announce(session.info.get(CHANGED_IDS, ()))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _configure(self, connection: Any, _record: object) -> None:
        # The driver itself would begin transactions, but only at the first write: too late for the write lock.
        connection.isolation_level = None
        timeout = f"busy_timeout = {self._busy_milliseconds}"
        for pragma in (timeout, "journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("ldsboard_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
