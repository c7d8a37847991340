"""Sessions. A reading one sees a snapshot; a writing one holds the write lock from its first statement and commits once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.orm import Session

from app.db.changes import CHANGED, Changes

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITING = {"ldsboard_writing": True}


class Database:
    """The database of one process.

    Parameters
    ----------
    busy_seconds
        How long a session waits for the write lock of another, before it raises OperationalError.
    """

    def __init__(self, url: str, busy_seconds: float = 30.0) -> None:
        self.engine = create_engine(url)
        self.changes = Changes()
        self._busy_milliseconds = round(1000 * busy_seconds)
        event.listen(self.engine, "connect", self._prepare)
        event.listen(self.engine, "begin", _begin)
        self.writer = self.engine.execution_options(**_WRITING)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session that commits at its end, or rolls back if anything was raised; changes are announced once committed."""
        with Session(self.writer, expire_on_commit=False) as session, session.begin():
            yield session
        self.changes.announce(session.info.get(CHANGED, ()))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _prepare(self, connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, later than the lock is needed.
        connection.isolation_level = None
        waiting = f"busy_timeout = {self._busy_milliseconds}"
        for pragma in (waiting, "journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("ldsboard_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
