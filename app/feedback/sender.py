"""The sender: a thread of the server that makes the calls of webhooks."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx
import structlog

from app.feedback.calls import Outcome, begin_attempts, due_calls, is_outdated, record_outcome
from app.feedback.messages import Message, write_message
from app.feedback.name_lookups import NameLookupLoop
from app.feedback.requests import send

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection

    from app.db.sessions import Database
    from app.feedback.addresses import Addresses

MAX_RUNNING = 16
"""Maximum number of calls that run at the same time; of one user, at most one call runs."""

NAME_THREADS = 2 * MAX_RUNNING
"""Maximum number of threads that ask name servers. A thread can wait for an answer for longer than its call runs."""

RECHECK_SECONDS = 5.0
"""Seconds after which the sender looks for due calls without having been woken."""

STOP_SECONDS = 5.0
"""Seconds that `Sender.stop` waits for the thread. Running calls are cancelled, and made again later."""

CRASHED = Outcome(None, "The server failed to make the call.")

log = structlog.get_logger()


class Sender:
    """Makes the due calls of webhooks in a thread until it is stopped.

    Parameters
    ----------
    addresses
        Which addresses may be called.
    public_url
        The public address of the site, for links in messages.
    verify
        Context that verifies the certificates of receivers; by default, the context of httpx.
    leads
        Tells whether this server is the one that makes calls, if several share a database.
    """

    def __init__(
        self,
        database: Database,
        addresses: Addresses,
        public_url: str,
        verify: ssl.SSLContext | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._addresses = addresses
        self._public_url = public_url
        self._verify = verify
        self._leads = leads
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Event | None = None
        self._rows = ThreadPoolExecutor(1, thread_name_prefix="webhook-rows")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start the thread; from now on, each change of a submission wakes the thread."""
        self._database.changes.listen(self.wake)
        self._thread.start()

    def wake(self) -> None:
        """Let the thread look for due calls at once."""
        if self._loop is not None and self._woken is not None:
            with suppress(RuntimeError):  # the loop is closed, so the thread has ended
                self._loop.call_soon_threadsafe(self._woken.set)

    def stop(self) -> None:
        """Cancel the running calls, and wait at most `STOP_SECONDS` for the end of the thread."""
        self._stopping = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        with self._rows, asyncio.Runner(loop_factory=partial(NameLookupLoop, NAME_THREADS)) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Look for due calls and make them until the sender is stopped; then cancel the calls that still run.

        The database is searched for due calls at each `wake`, after the end of each call, and otherwise every `RECHECK_SECONDS`.
        """
        self._woken, self._loop = asyncio.Event(), asyncio.get_running_loop()
        verify = self._verify
        if verify is None:
            verify = await asyncio.to_thread(httpx.create_ssl_context)
        running: dict[int, asyncio.Task[None]] = {}

        def end(user_id: int, _task: asyncio.Task[None]) -> None:
            del running[user_id]
            self.wake()

        while True:
            self._woken.clear()
            if self._stopping:  # looked up after clearing: `stop` sets it before it wakes the thread
                break
            free = MAX_RUNNING - len(running)
            for message in await self._loop.run_in_executor(self._rows, self._begin, frozenset(running), free):
                running[message.user_id] = task = asyncio.create_task(self._call(message, verify))
                task.add_done_callback(partial(end, message.user_id))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), RECHECK_SECONDS)
        tasks = list(running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, busy: Collection[int], limit: int) -> list[Message]:
        """Find due calls, record that their attempts begin, and return their messages, which the caller must send.

        Outdated calls are ended. A call whose message cannot be written gets the outcome `CRASHED`. After any other error, the
        error is logged, and the list is empty.
        """
        messages: list[Message] = []
        outdated, unwritten = [], []
        if not self._leads():
            return messages
        try:
            with self._database.read() as session:
                for call in due_calls(session, busy, limit):
                    if is_outdated(call):
                        outdated.append(call.id)
                        continue
                    try:
                        messages.append(write_message(session, call, self._public_url))
                    except Exception:  # one faulty row must not hold up the calls of others
                        log.exception("webhook.crashed", call=call.id)
                        unwritten.append(call.id)
            if messages or outdated or unwritten:
                with self._database.write() as session:
                    begin_attempts(session, [*(message.call_id for message in messages), *unwritten], outdated)
                    for call_id in unwritten:
                        record_outcome(session, call_id, CRASHED)
            if outdated or unwritten:
                self.wake()  # further calls of the same users may be due
        except Exception:  # the thread must survive, and the calls stay in the database
            log.exception("webhooks.crashed")
            return []
        return messages

    async def _call(self, message: Message, verify: ssl.SSLContext) -> None:
        """Make one attempt of a call and save the outcome.

        If the outcome cannot be saved, the error is logged. The call is then made again when the next attempt is due.
        """
        try:
            outcome = await send(message, self._addresses, verify)
        except Exception:  # any other error must not end the call without an outcome
            log.exception("webhook.crashed", call=message.call_id)
            outcome = CRASHED
        try:
            await asyncio.get_running_loop().run_in_executor(self._rows, self._save, message.call_id, outcome)
        except Exception:
            log.exception("webhook.not_saved", call=message.call_id)

    def _save(self, call_id: str, outcome: Outcome) -> None:
        with self._database.write() as session:
            record_outcome(session, call_id, outcome)
