"""The embedded job runner: threads that take evaluations in turn, and one that tidies up."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

RECHECK_SECONDS = 5.0
"""How often a runner looks for work that nobody told it of."""

CHORE_SECONDS = 5.0
"""How long after a chore it is done again."""

STOP_SECONDS = 5.0
"""How long the end of the server waits for jobs that run."""

log = structlog.get_logger()


class Runner:
    """Runs jobs until it is stopped.

    Parameters
    ----------
    work
        Takes the next job, if there is one, and does it; tells whether there was one.
    threads
        How many jobs run at the same time.
    chore
        Done at the start and every few seconds, by a thread of its own.
    """

    def __init__(self, work: Callable[[], bool], threads: int, chore: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._chore = chore
        self._wake = threading.Condition()
        self._stopping = False
        self._calls = 0
        self._running = threads
        self._threads = [threading.Thread(target=self._run, name=f"scoring-{i}", daemon=True) for i in range(threads)]
        self._threads.append(threading.Thread(target=self._tidy, name="chores", daemon=True))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def notify(self) -> None:
        """Say that there is work."""
        with self._wake:
            self._calls += 1
            self._wake.notify_all()

    def stop(self) -> bool:
        """Finish the jobs that run, and end; tell whether all of them did.

        One that takes too long ends with the process; it is still in the database, and taken up at the next start.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while not self._stopping:
            seen = self._calls
            if self._did_work():
                continue
            with self._wake:
                if not self._stopping and self._calls == seen:
                    self._wake.wait(RECHECK_SECONDS)
        # All end together: a process that one of them started ends with its thread, and others may still need it.
        with self._wake:
            self._running -= 1
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._running == 0)

    def _tidy(self) -> None:
        while not self._stopping:
            try:
                self._chore()
            except Exception:  # it is tried again
                log.exception("chore.crashed")
            with self._wake:
                self._wake.wait_for(lambda: self._stopping, CHORE_SECONDS)

    def _did_work(self) -> bool:
        try:
            return self._work()
        except Exception:  # the thread must outlive any one job; the job itself is still in the database
            log.exception("job.crashed")
            return False
