"""The thread that runs counterfactual evaluations, one after the other."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.benchmarks.catalog import version_folder
from app.counterfactual import queue
from app.counterfactual.process import Limits, ProcessFailedError, RefusedError, Retraining, has_torch
from app.counterfactual.queue import Boards
from app.errors import BusyError, StorageAwayError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from app.counterfactual.process import Result
    from app.counterfactual.queue import Claim
    from app.db.sessions import Database
    from app.settings import Settings
    from app.submissions.storage import Storage

IDLE_SECONDS = 5.0
"""Seconds after which an idle thread looks for new entries."""

REPORT_SECONDS = 10.0
"""Shortest time between two saved percentages. Each of them makes the server build its kept pages anew."""

STOP_SECONDS = 5.0
"""Seconds that the shutdown waits for the thread."""

PARTS = "counterfactual"
"""Folder of finished parts in the data folder."""

KEPT_SECONDS = 30 * 86400.0
"""Parts are a cache: a folder of parts that no evaluation has used for so long is deleted."""

log = structlog.get_logger()


class Retrainings:
    """Runs the counterfactual evaluations of a server or worker in a thread, each in a process of its own.

    Parameters
    ----------
    benchmarks
        Folder of all published benchmarks.
    parts
        Folder for finished parts.
    retry_seconds
        Seconds between the first failure of an evaluation and the next try.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        benchmarks: Path,
        parts: Path,
        limits: Limits,
        retry_seconds: float,
    ) -> None:
        self._database, self._storage = database, storage
        self._benchmarks, self._parts = benchmarks, parts
        self._retry_seconds = retry_seconds
        self._boards = Boards()
        self._stopping = threading.Event()
        self._retraining = Retraining(parts, limits)
        self.paused = self._retraining.paused
        self._thread = threading.Thread(target=self._run, name="counterfactual", daemon=True)

    @classmethod
    def of(cls, settings: Settings, database: Database, storage: Storage) -> Retrainings | None:
        """Return the evaluations of a server or worker; None if the operator wants none, or by default without torch.

        Raises
        ------
        RuntimeError
            The operator wants evaluations, and torch is not installed.
        """
        wanted = has_torch() if settings.counterfactual is None else settings.counterfactual
        if wanted and not has_torch():
            raise RuntimeError(
                "LDSBOARD_COUNTERFACTUAL is true, but torch is not installed. Install the trainer's group "
                "(pip install --group train), or unset LDSBOARD_COUNTERFACTUAL."
            )
        if not wanted:
            return None
        parts = settings.data_dir / PARTS
        limits = Limits(settings.counterfactual_seconds, settings.counterfactual_bytes)
        return cls(database, storage, settings.benchmarks_dir, parts, limits, settings.retry_seconds)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the running process and the thread; finished parts are kept, and the evaluation goes on at the next start."""
        self._stopping.set()
        self._retraining.close()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self.evaluate_next():
                    continue
                self._delete_old_parts()
            except Exception:  # the thread must survive; the row is still in the database
                log.exception("counterfactual.crashed")
            self._stopping.wait(IDLE_SECONDS)

    def evaluate_next(self) -> bool:
        """Claim and run the next evaluation; return False if there is none, or while the store of files is out of reach."""
        if self._storage.is_away():
            return False
        with self._database.read() as session:
            waiting = self._boards.next_waiting(session)
        if waiting is None:
            return False
        with self._database.write() as session:
            claim = queue.claim(session, waiting)
        if claim is None:
            return False
        log.info("counterfactual.started", submission=claim.submission_id)
        try:
            result = self._evaluate(claim)
        except RefusedError as error:
            with self._database.write() as session:
                queue.give_up(session, claim, str(error))
            log.warning("counterfactual.impossible", submission=claim.submission_id, error=str(error))
        except Exception as error:  # noqa: BLE001 -- any other error is a failure of the server: saved, logged and tried again
            self._fail(claim, error)
        else:
            with self._database.write() as session:
                queue.save(session, claim, *result)
            log.info("counterfactual.ended", submission=claim.submission_id, seconds=result.numbers["seconds"])
        return True

    def _evaluate(self, claim: Claim) -> Result:
        folder = version_folder(self._benchmarks, claim.benchmark, claim.version)
        with self._storage.local_file(claim.file_sha256) as scores:
            return self._retraining.run(folder, scores, self._saver(claim))

    def _fail(self, claim: Claim, error: Exception) -> None:
        """Count a failure; a stop and an outage of the store are none."""
        is_away = isinstance(error, StorageAwayError) and self._storage.is_away()
        if self._stopping.is_set() or is_away:
            with self._database.write() as session:
                queue.release(session, claim)
            return
        with self._database.write() as session:
            queue.fail(session, claim, self._retry_seconds)
        trace = None if isinstance(error, ProcessFailedError) else error
        log.error("counterfactual.failed", submission=claim.submission_id, error=str(error), exc_info=trace)

    def _saver(self, claim: Claim) -> Callable[[float], None]:
        """Return a function that saves the finished fraction of a claimed evaluation, now and then.

        If this process no longer holds the evaluation, such as after a withdrawal, the function ends the retraining.
        """
        saved = 0.0

        def save(fraction: float) -> None:
            nonlocal saved
            if time.monotonic() - saved < REPORT_SECONDS:
                return
            saved = time.monotonic()
            with suppress(SQLAlchemyError, BusyError), self._database.write() as session:  # the next call saves more
                if (row := queue.held(session, claim)) is None:
                    self._retraining.kill()
                else:
                    row.percent = int(100 * fraction)

        return save

    def _delete_old_parts(self) -> None:
        before = time.time() - KEPT_SECONDS
        for folder in self._parts.glob("*"):
            with suppress(FileNotFoundError):  # another process deletes the folder too
                if folder.stat().st_mtime < before:
                    shutil.rmtree(folder)
