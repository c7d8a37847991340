"""The resources of one server process: settings, database, files, scoring processes and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from app import data_lock
from app.accounts.quotas import Quotas
from app.accounts.rate_limits import RateLimiter, WaitLimiter
from app.benchmarks.catalog import current_versions, version_folder
from app.db.sessions import Database
from app.management import recovery
from app.scoring.evaluator import Evaluator
from app.scoring.runner import Runner
from app.scoring.sandbox.client import Sandbox
from app.submissions.storage import Storage
from ldsboard.core.parallel import usable_processors

if TYPE_CHECKING:
    from filelock import AcquireReturnProxy, FileLock

    from app.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """The resources of a server, opened at its start and closed at its end.

    Attributes
    ----------
    data_lock
        The lock of the data folder.
    streaming
        Ids of the submissions whose file is arriving in a single request.
    """

    settings: Settings
    database: Database
    storage: Storage
    sandbox: Sandbox
    runner: Runner
    quotas: Quotas
    rate_limiter: RateLimiter
    wait_limiter: WaitLimiter
    data_lock: AcquireReturnProxy[FileLock]
    streaming: set[str]

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open all resources; the database must have the newest schema.

        Raises
        ------
        RuntimeError
            Another server uses this data folder.
        """
        lock = data_lock.lock_data_folder(settings.data_dir)
        database = Database(settings.resolved_database_url, settings.busy_seconds)
        storage = Storage(settings.storage_dir, settings.spare_bytes)
        sandbox = Sandbox(threads=max(1, usable_processors() // settings.scoring_processes))
        evaluator = Evaluator(database, storage, settings.benchmarks_dir, sandbox, settings.retry_seconds)
        streaming: set[str] = set()

        def recover_periodically() -> None:
            recovery.expire_multipart_uploads(database, storage)
            recovery.recover_lost(database, evaluator.running, streaming)

        return cls(
            settings=settings,
            database=database,
            storage=storage,
            sandbox=sandbox,
            runner=Runner(evaluator.evaluate_next, settings.scoring_processes, recover_periodically),
            quotas=Quotas(
                settings.ranked_per_day,
                settings.ranked_per_version,
                settings.bytes_per_user,
                settings.uploads_per_user,
            ),
            rate_limiter=RateLimiter(settings.requests_per_minute),
            wait_limiter=WaitLimiter(),
            data_lock=lock,
            streaming=streaming,
        )

    def start(self) -> None:
        """Recover the work that an earlier process left unfinished, then start scoring."""
        self.sandbox.start()
        with self.database.read() as session:
            for version in current_versions(session):
                self.preload(version.benchmark.name, version.version)
        recovery.recover_at_start(self.database, self.storage)
        self.runner.start()

    def preload(self, benchmark: str, version: int) -> None:
        """Let the fork server load the ground truth of a version before the first file arrives."""
        self.sandbox.preload(version_folder(self.settings.benchmarks_dir, benchmark, version))

    def close(self) -> None:
        """Finish the running evaluations and close all resources."""
        if self.runner.stop():
            self.sandbox.stop()
        # While jobs still run, the fork server ends with this process; ending it earlier would count as failed evaluations.
        self.database.close()
        self.data_lock.lock.release()
