"""The embedded job runner: worker threads for evaluations, and a thread for periodic recovery."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

RECHECK_SECONDS = 5.0
"""Seconds after which an idle thread looks for jobs without having been notified."""

CHORE_SECONDS = 5.0
"""Seconds between two calls of the chore, the periodic function of a `Runner`."""

STOP_SECONDS = 5.0
"""Seconds that the shutdown of the server waits for running jobs."""

log = structlog.get_logger()


class Runner:
    """Runs jobs in threads until it is stopped.

    Parameters
    ----------
    work
        Function that claims and runs the next job, and returns False if there was no job to run.
    threads
        Number of jobs that run at the same time.
    chore
        Function that a separate thread calls at the start, and again after each pause of `CHORE_SECONDS`.
    """

    def __init__(self, work: Callable[[], bool], threads: int, chore: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._chore = chore
        self._wake = threading.Condition()
        self._stopping = False
        self._notifications = 0
        self._running = threads
        self._threads = [threading.Thread(target=self._run, name=f"scoring-{i}", daemon=True) for i in range(threads)]
        self._threads.append(threading.Thread(target=self._run_chore, name="chores", daemon=True))

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def notify(self) -> None:
        """Wake all idle threads; call this after a job was queued."""
        with self._wake:
            self._notifications += 1
            self._wake.notify_all()

    def stop(self) -> bool:
        """Wait for the running jobs and end the threads; return whether all threads ended within `STOP_SECONDS`.

        A job that takes longer ends with the process. The row of this job stays in the database, and the next start of the server
        requeues the job.
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
            seen = self._notifications
            try:
                if self._work():
                    continue
            except Exception:  # the thread must survive a failed job, whose row is still in the database
                log.exception("job.crashed")
            with self._wake:
                if not self._stopping and self._notifications == seen:
                    self._wake.wait(RECHECK_SECONDS)
        # All threads end together, because the fork server dies with the thread that started the fork server, and other threads
        # may still need the fork server.
        with self._wake:
            self._running -= 1
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._running == 0)

    def _run_chore(self) -> None:
        while not self._stopping:
            try:
                self._chore()
            except Exception:  # the chore is retried after the pause
                log.exception("chore.crashed")
            with self._wake:
                self._wake.wait_for(lambda: self._stopping, CHORE_SECONDS)
