"""Tells the requests that wait for a submission that its state has changed, as soon as that is committed."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.orm import Session

CHANGED = "ldsboard_changed"
"""Key in the info of a session: the ids of the submissions whose state it changes."""


class Changes:
    """The requests of one server process that wait for submissions, by submission; its methods may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(list)

    @contextmanager
    def watch(self, submission_id: str) -> Iterator[asyncio.Event]:
        """Give an event of the running loop that is set after each change of a submission from now on."""
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

    def announce(self, submission_ids: Iterable[str]) -> None:
        """Set the events of all requests that wait for these submissions."""
        with self._lock:
            watchers = [watcher for changed in submission_ids for watcher in self._waiting.get(changed, ())]
        for loop, event in watchers:
            with suppress(RuntimeError):  # a closed loop has no request that still waits
                loop.call_soon_threadsafe(event.set)


def note_change(session: Session, submission_id: str) -> None:
    """Have a change of a submission announced when the session is committed."""
    session.info.setdefault(CHANGED, set()).add(submission_id)
