"""Tell the other servers of a PostgreSQL database how many requests each caller has made, so that rate limits hold for all."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

import psycopg
import structlog
from pydantic import PositiveInt, TypeAdapter, ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.accounts.rate_limits import RateLimiter

REQUESTS = "ldsboard_requests"
"""Channel of the notifications. Each payload is JSON: its server, the name of a limit, and rows of kind, caller and number."""

SEND_SECONDS = 0.5
"""Seconds between two notifications of a server that receives requests."""

RECONNECT_SECONDS = 1.0
"""Seconds between two attempts to connect."""

STOP_SECONDS = 2.0
"""Seconds that `SharedCounts.stop` waits for a statement that PostgreSQL does not answer."""

MAX_CALLERS = 40
"""Largest number of callers in a payload, for which PostgreSQL allows 8,000 bytes."""

log = structlog.get_logger()

_PAYLOAD = TypeAdapter(tuple[str, str, list[tuple[str, str, PositiveInt]]])


class SharedCounts:
    """A thread that exchanges the counts of rate limits with the other servers, until `stop`.

    A server that loses the database counts alone until the database is back.

    Parameters
    ----------
    connect
        Opens a connection of psycopg, without transactions.
    limiters
        The rate limits of this server by their names, which are the same in every server.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection], limiters: Mapping[str, RateLimiter]) -> None:
        self._connect, self._limiters = connect, limiters
        self._server = secrets.token_hex(8)
        self._stopping = threading.Event()
        for limiter in limiters.values():
            limiter.share()
        self._thread = threading.Thread(target=self._run, name="shared-counts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, or leave it behind if it waits for PostgreSQL."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {REQUESTS}")
                    while not self._stopping.is_set():
                        self._exchange(connection)
            except (OperationalError, NoConnectionError, psycopg.Error):
                for limiter in self._limiters.values():
                    limiter.take_counts()  # old by the time there is a connection again
                self._stopping.wait(RECONNECT_SECONDS)

    def _exchange(self, connection: psycopg.Connection) -> None:
        """Receive for `SEND_SECONDS`, then send what has been counted."""
        for notification in connection.notifies(timeout=SEND_SECONDS):
            try:
                server, limit, rows = _PAYLOAD.validate_json(notification.payload)
            except ValidationError:  # of a later release
                log.warning(
                    "counts.unreadable", about="a server of another release shares no rate limits with this one"
                )
                continue
            if server != self._server and limit in self._limiters:
                for kind, caller, number in rows:
                    self._limiters[limit].add(kind, caller, number)
        for limit, limiter in self._limiters.items():
            rows = [(*key, number) for key, number in limiter.take_counts().items()]
            for start in range(0, len(rows), MAX_CALLERS):
                payload = _PAYLOAD.dump_json((self._server, limit, rows[start : start + MAX_CALLERS]))
                connection.execute("SELECT pg_notify(%s, %s)", (REQUESTS, payload.decode()))
