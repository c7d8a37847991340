"""Limits how many requests use the database at the same time; the others wait in order, and are rejected after some seconds."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from app.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READERS = 8
"""Maximum number of requests that hold a read session. More would not be faster, because Python runs one thread at a time."""

WRITERS = 16
"""Maximum number of requests that write, wait for the write lock, or wait for a board to be ranked after their change."""

WAIT_SECONDS = 8.0
"""Seconds that a request waits for its turn before it is rejected."""


class Admission:
    """Turns for requests that hold a database session: at most `READERS` + `WRITERS` requests have a turn at the same time.

    Turns prevent a deadlock. The framework runs the steps of a request one after the other in worker threads. Between two steps,
    the request holds a database connection and needs a thread. If such requests held all connections, and all threads were
    waiting for a connection, nothing could continue. A request that waits for a turn holds neither a connection nor a thread.
    """

    def __init__(self) -> None:
        self._readers = asyncio.Semaphore(READERS)
        self._writers = asyncio.Semaphore(WRITERS)

    @asynccontextmanager
    async def turn(self, *, write: bool = False) -> AsyncIterator[None]:
        """Wait for a turn to read or, with `write`, for a turn to write; hold the turn until the block ends.

        Raises
        ------
        BusyError
            The request has waited for `WAIT_SECONDS`.
        """
        semaphore = self._writers if write else self._readers
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await semaphore.acquire()
        except TimeoutError:
            raise BusyError("Too many requests are waiting for the server.") from None
        try:
            yield
        finally:
            semaphore.release()
