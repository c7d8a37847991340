"""Database sessions.

A read session sees a snapshot. A write session holds the write lock from its first statement and commits once, at its end.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.database_url import database_url
from app.db.backends import backend_of
from app.db.changes import CHANGED_IDS, Changes
from app.db.tickets import defer_tickets
from app.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

NUL = "\0"

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
    tickets
        Whether workers in other processes score, so that transactions defer the tickets of `app.db.tickets`. Only on PostgreSQL.
    serving
        Whether this is a server or a worker, whose transactions PostgreSQL ends if they do nothing for long. The commands of the
        operator may take longer, for instance while they compare files.
    """

    def __init__(self, url: str, busy_seconds: float = 30.0, *, tickets: bool = False, serving: bool = False) -> None:
        address = database_url(url)
        self._backend = backend_of(address, busy_seconds, serving=serving)
        self.engine = create_engine(
            address,
            pool_size=POOL_SIZE,
            max_overflow=MAX_OVERFLOW,
            connect_args=dict(self._backend.connect_args),
            hide_parameters=True,  # they can be secrets of webhooks, and a failed statement is logged
            pool_pre_ping=address.get_backend_name() != "sqlite",  # PostgreSQL may have been restarted
            # The parser of pydantic is several times as fast as the standard one; boards read hundreds of small JSON columns.
            json_deserializer=from_json,
        )
        self.changes = Changes()
        self._busy_seconds = busy_seconds
        self._tickets = tickets
        self._write_lock = threading.Lock()
        event.listen(self.engine, "connect", lambda connection, _: self._backend.configure(connection))
        event.listen(
            self.engine, "begin", lambda connection: self._backend.begin(connection, writing=_writes(connection))
        )
        event.listen(self.engine, "commit", self._announce)
        event.listen(self.engine, "before_cursor_execute", _refuse_nul)
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
                if self._tickets:
                    defer_tickets(session)
                if changed := session.info.get(CHANGED_IDS):
                    self._backend.notify(session.connection(), changed)
        finally:
            self._backend.after_commit()  # also if the answer to a commit was lost
            self._write_lock.release()
        self.changes.announce(session.info.get(CHANGED_IDS, ()))

    def ranking(self, version_id: int) -> AbstractContextManager[None]:
        """Return a context in which no other process ranks the board of a version, unless the other takes very long."""
        return self._backend.ranking(self.engine, version_id)

    def revision(self) -> int:
        """Return a number that differs from the previous call's number if any process has committed in between.

        The call does not wait for the write lock. All calls must come from one thread, because they share one connection.
        """
        return self._backend.revision(self.engine)

    def listen(self) -> None:
        """From now on, announce what other processes change to the requests and listeners of `changes`; PostgreSQL only."""
        self._backend.listen(self.engine, self.changes)

    def unfit(self, connection: Connection) -> str | None:
        """Return why the database cannot be used, or None."""
        return self._backend.unfit(connection.connection.driver_connection)

    def close(self) -> None:
        """Close all connections."""
        self._backend.close()
        self.engine.dispose()

    def _announce(self, connection: Connection) -> None:
        if _writes(connection):
            self._backend.before_commit(connection)


def _refuse_nul(_connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
    """Raise DataError if a text that a statement passes to the database has a NUL character, on all databases alike.

    PostgreSQL cannot store such a text. SQLite would, and the row could then not be moved to PostgreSQL.
    """
    # `parameters` is a list of rows only for the driver's `executemany`, not for one statement that inserts several rows.
    for row in parameters if isinstance(parameters, list) else (parameters or (),):
        for value in row.values() if isinstance(row, dict) else row:
            if isinstance(value, str) and NUL in value:
                raise DataError(statement, None, ValueError("a text has a NUL character"), hide_parameters=True)


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("ldsboard_writing", False))
