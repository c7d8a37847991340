"""Lookups of host names in daemon threads.

A name server that does not answer can hold a lookup for half a minute, and no lookup can be cancelled. A daemon thread delays
neither the end of the event loop nor the end of the process. Threads of an executor would delay both.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any


class NameLookupLoop(asyncio.SelectorEventLoop):
    """An event loop that looks up each host name in a daemon thread of its own.

    A lookup occupies a thread until the name server has answered, even if the task that waits for the lookup is cancelled.
    While `max_threads` lookups run, further lookups wait.
    """

    def __init__(self, max_threads: int) -> None:
        super().__init__()
        self._free_threads = asyncio.Semaphore(max_threads)

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> list[Any]:
        """Return what `socket.getaddrinfo` returns for these arguments; raise the errors that `socket.getaddrinfo` raises."""
        await self._free_threads.acquire()
        answer: Future[list[Any]] = Future()
        answer.set_running_or_notify_cancel()  # from now on, the end of a call does not cancel the lookup
        answer.add_done_callback(self._free_thread)

        def look_up() -> None:
            try:
                answer.set_result(socket.getaddrinfo(host, port, **hints))
            except Exception as error:  # noqa: BLE001 -- raised again by the call that waits
                answer.set_exception(error)

        threading.Thread(target=look_up, name="webhook-name", daemon=True).start()
        return await asyncio.wrap_future(answer, loop=self)

    def _free_thread(self, _answer: Future[list[Any]]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(self._free_threads.release)
