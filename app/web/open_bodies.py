"""Limits for the uploads that arrive at the same time: their number, their memory, and how many are decompressed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.errors import BusyError
from ldsboard.problems import ProblemError

MAX_BODIES = 1000
"""Maximum number of bodies that arrive at the same time, of all users together."""

COMPRESSED = 8
"""Maximum number of compressed bodies that are read at the same time, because a zstd decoder can need 8 MiB of memory."""

COMPRESSED_PER_USER = 2
"""Maximum number of compressed bodies of one user that are read at the same time, so that no user takes all turns."""

INFLATE_WAIT_SECONDS = 60.0
"""Seconds that a compressed body beyond `COMPRESSED` or `COMPRESSED_PER_USER` waits, unread; then the request is rejected."""

BUFFER_BYTES = 8 << 20
"""Bytes of memory that all bodies share for their buffers. Each body has two buffers of bytes that are not written yet.

More than 64 bodies need more memory, because each buffer can hold `MIN_PIECE_BYTES`."""

MIN_PIECE_BYTES, MAX_PIECE_BYTES = 64 * 1024, 4 << 20
"""Smallest and largest number of bytes that a body collects before another thread writes the bytes. Passing smaller pieces to the
thread would take longer than writing."""


class OpenBodies:
    """The uploads whose body is arriving. Use an instance only in the event loop, because the class has no lock.

    Parameters
    ----------
    per_user
        Maximum number of bodies of one user; 0 for no limit.

    Attributes
    ----------
    decompressing
        Semaphore to hold while a piece is decompressed: only one thread decompresses, so that other requests keep a processor.
    """

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: Counter[int] = Counter()
        self._compressed = asyncio.Semaphore(COMPRESSED)
        self._compressed_of_user: dict[int, asyncio.Semaphore] = {}
        self.decompressing = asyncio.Semaphore(1)

    @property
    def piece_bytes(self) -> int:
        """Number of bytes that each arriving body should collect before writing these bytes; smaller if many bodies arrive."""
        return min(MAX_PIECE_BYTES, max(MIN_PIECE_BYTES, BUFFER_BYTES // max(1, 2 * self._open.total())))

    @asynccontextmanager
    async def slot(self, user_id: int, *, compressed: bool) -> AsyncIterator[None]:
        """Count one more arriving body of a user until the block ends; before the block, a compressed body waits for a turn.

        Raises
        ------
        ProblemError
            ``quota.uploads``: too many bodies of this user are arriving.
            ``internal.busy``: too many bodies of all users are arriving, or a compressed body got no turn within
            `INFLATE_WAIT_SECONDS`.
        """
        if self._per_user and self._open[user_id] >= self._per_user:
            raise ProblemError(
                "quota.uploads",
                f"Your files that are arriving now: {self._open[user_id]}. Allowed at the same time: {self._per_user}.",
                "Wait until one of these files has arrived.",
            )
        if self._open.total() >= MAX_BODIES:
            raise BusyError("Too many files are arriving.")
        self._open[user_id] += 1
        try:
            async with AsyncExitStack() as turn:
                if compressed:
                    await self._wait_for_turn(user_id, turn)
                yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
                self._compressed_of_user.pop(user_id, None)

    async def _wait_for_turn(self, user_id: int, turn: AsyncExitStack) -> None:
        of_user = self._compressed_of_user.setdefault(user_id, asyncio.Semaphore(COMPRESSED_PER_USER))
        try:
            async with asyncio.timeout(INFLATE_WAIT_SECONDS):
                await turn.enter_async_context(
                    of_user
                )  # first, so that the queue of all users has few bodies of this user
                await turn.enter_async_context(self._compressed)
        except TimeoutError:
            raise BusyError("Too many compressed files are arriving. Send the file uncompressed, or wait.") from None
