"""Wake the requests that wait for a submission, after each commit that changes the submission's state."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy.orm import Session

CHANGED_IDS = "ldsboard_changed"
"""Key in ``Session.info`` for the ids of the submissions whose state the transaction changes."""


class Changes:
    """Holds the listeners, and an asyncio event for each request of this server process that waits for a submission.

    All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(list)
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each later commit of this process that changes the state of a submission.

        The thread that has committed calls the listener, so the listener must return at once and raise no exception.
        """
        with self._lock:
            self._listeners.append(listener)

    @contextmanager
    def watch(self, submission_id: str) -> Iterator[asyncio.Event]:
        """Yield an asyncio event that is set after each commit of this process that changes the submission's state.

        Call this method in the event loop of the waiting request. The request clears the event before it waits again.
        """
        watcher = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting[submission_id].append(watcher)
        try:
            yield watcher[1]
        finally:
            with self._lock:
                self._waiting[submission_id].remove(watcher)
                if not self._waiting[submission_id]:
                    del self._waiting[submission_id]

    def announce(self, submission_ids: Iterable[str] | None) -> None:
        """Call the listeners, and set the events of all requests that wait for these submissions; without ids, do nothing.

        None means that any submission may have changed.
        """
        with self._lock:
            changed_ids = set(self._waiting if submission_ids is None else submission_ids)
            watchers = [watcher for changed in changed_ids for watcher in self._waiting.get(changed, ())]
            listeners = list(self._listeners) if changed_ids or submission_ids is None else []
        for listener in listeners:
            listener()
        for loop, event in watchers:
            with suppress(RuntimeError):  # the loop is closed, so no request waits in it
                loop.call_soon_threadsafe(event.set)


def note_change(session: Session, submission_id: str) -> None:
    """Note in a session that the state of a submission has changed; `Database.write` announces the change after the commit."""
    session.info.setdefault(CHANGED_IDS, set()).add(submission_id)
