"""Notifications on PostgreSQL about submissions whose state another process has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

CHANGES = "ldsboard_changes"
"""Channel of the notifications. Each payload names the process that has committed, and the ids of the submissions."""

MAX_IDS = 400
"""Largest number of ids in a payload, for which PostgreSQL allows 8,000 bytes."""

STOP_SECONDS = 0.5
"""Seconds after which the thread of a `Listener` looks whether it is asked to stop."""

RECONNECT_SECONDS = 1.0
"""Seconds between two attempts to connect."""


def notify_changes(connection: Connection, process: str, submission_ids: Iterable[str]) -> None:
    """Have PostgreSQL notify the listeners when the transaction of a connection commits."""
    ids = sorted(submission_ids)
    for start in range(0, len(ids), MAX_IDS):
        payload = " ".join([process, *ids[start : start + MAX_IDS]])
        connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANGES, payload))


class Listener:
    """A thread that hears of the changes of other processes.

    Parameters
    ----------
    connect
        Opens a connection of psycopg, without transactions.
    process
        Name of this process, whose own notifications are ignored.
    hear
        Function to call with the ids of the submissions that have changed, or with None if any submission may have changed
        while there was no connection.
    """

    def __init__(
        self, connect: Callable[[], psycopg.Connection], process: str, hear: Callable[[Iterable[str] | None], None]
    ) -> None:
        self._connect, self._process, self._hear = connect, process, hear
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANGES}")
                    self._hear(None)
                    self._receive(connection)
            except (OperationalError, NoConnectionError, psycopg.Error):
                self._stopping.wait(RECONNECT_SECONDS)

    def _receive(self, connection: psycopg.Connection) -> None:
        while not self._stopping.is_set():
            for notification in connection.notifies(timeout=STOP_SECONDS):
                process, *ids = notification.payload.split()
                if process != self._process:
                    self._hear(ids)
