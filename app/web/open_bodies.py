"""Limits for the uploads that arrive at the same time: their number, their memory, and how many are decompressed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.errors import BusyError
from ldsboard.problems import ProblemError

MAX_BODIES = 1000
"""Bodies that may arrive at the same time, of all users together."""

COMPRESSED = 8
"""Compressed bodies that arrive at the same time; the others wait unread. A zstd decoder may need 8 MiB of memory."""

INFLATE_WAIT_SECONDS = 60.0
"""How long a compressed body waits, unread, until another one has been decompressed."""

BUFFER_BYTES = 8 << 20
"""Memory for bytes that were received and not yet written, of all bodies together; each body has two buffers."""

MIN_PIECE_BYTES, MAX_PIECE_BYTES = 64 * 1024, 4 << 20
"""Limits of the bytes that a body collects before they are written. Passing small pieces to another thread would take longer than
writing them."""


class OpenBodies:
    """The uploads whose body is arriving. Only the event loop may use it: it has no lock.

    Parameters
    ----------
    per_user
        Maximum number of bodies of one user; 0 for no limit.

    Attributes
    ----------
    decompressing
        The turn to decompress a piece: at most one thread does, so that other requests keep a processor.
    """

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: Counter[int] = Counter()
        self._compressed = asyncio.Semaphore(COMPRESSED)
        self.decompressing = asyncio.Semaphore(1)

    @property
    def piece_bytes(self) -> int:
        """How many bytes a body should collect before they are written."""
        return min(MAX_PIECE_BYTES, max(MIN_PIECE_BYTES, BUFFER_BYTES // max(1, 2 * self._open.total())))

    @asynccontextmanager
    async def slot(self, user_id: int, *, compressed: bool) -> AsyncIterator[None]:
        """Count a body of a user for the length of the block; a compressed body waits for its turn first.

        Raises
        ------
        ProblemError
            ``quota.uploads``: too many bodies of this user are arriving. ``internal.busy``: too many of all users, or a
            compressed body had no turn within `INFLATE_WAIT_SECONDS`.
        """
        if self._per_user and self._open[user_id] >= self._per_user:
            raise ProblemError(
                "quota.uploads",
                f"{self._open[user_id]} of your files are arriving, and {self._per_user} are allowed at a time.",
                "Wait until one of them has arrived.",
            )
        if self._open.total() >= MAX_BODIES:
            raise BusyError("Too many files are arriving.")
        self._open[user_id] += 1
        try:
            async with self._turn(compressed=compressed):
                yield
        finally:
            self._open[user_id] -= 1
            self._open += Counter()  # drops users without bodies

    @asynccontextmanager
    async def _turn(self, *, compressed: bool) -> AsyncIterator[None]:
        if not compressed:
            yield
            return
        try:
            async with asyncio.timeout(INFLATE_WAIT_SECONDS):
                await self._compressed.acquire()
        except TimeoutError:
            raise BusyError("Too many compressed files are arriving. Send the file uncompressed, or wait.") from None
        try:
            yield
        finally:
            self._compressed.release()
