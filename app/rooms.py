"""What one server process is made of, opened at its start and closed at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TextIO

from app import lock
from app.db.sessions import Database
from app.jobs import Runner
from app.rates import Rates, Waits
from app.sandbox.scorer import Scorer
from app.services import audit, benchmarks, boards, files, ownership, queue, submissions, uploads
from app.services.audit import Action
from app.services.evaluations import Evaluator
from app.services.quotas import Quotas
from app.storage import Storage
from ldsboard.parallel import usable_processors

if TYPE_CHECKING:
    from app.services.accounts import Account
    from app.services.audit import Actor
    from app.settings import Settings


@dataclass(frozen=True)
class Rooms:
    """The database, the files, the scoring processes and the job runner of a server."""

    settings: Settings
    database: Database
    storage: Storage
    scorer: Scorer
    runner: Runner
    rates: Rates
    waits: Waits
    held: TextIO
    streaming: set[str]
    """Ids of the submissions whose file comes in one piece just now."""

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open everything; the schema must be there already.

        Raises
        ------
        RuntimeError
            Another server works on this data folder, and would lose its uploads to this one.
        """
        held = lock.hold(settings.data_dir)
        database = Database(settings.resolved_database_url, settings.busy_seconds)
        storage = Storage(settings.storage_dir, settings.spare_bytes)
        scorer = Scorer(threads=max(1, usable_processors() // settings.scoring_processes))
        evaluator = Evaluator(database, storage, settings.benchmarks_dir, scorer, settings.retry_seconds)
        streaming: set[str] = set()

        def tidy() -> None:
            expire_uploads(database, storage)
            recover_lost(database, evaluator.in_hand, streaming)

        runner = Runner(evaluator.work, settings.scoring_processes, tidy)
        rates, waits = Rates(settings.requests_per_minute), Waits()
        return cls(settings, database, storage, scorer, runner, rates, waits, held, streaming)

    @property
    def quotas(self) -> Quotas:
        """What users may submit who have no quotas of their own."""
        settings = self.settings
        return Quotas(
            settings.ranked_per_day, settings.ranked_per_version, settings.bytes_per_user, settings.uploads_per_user
        )

    def start(self) -> None:
        """Take up what an earlier process left unfinished, and begin to work."""
        self.scorer.start()
        with self.database.read() as session:
            for version in benchmarks.current(session):
                self.prepare(version.benchmark.name, version.version)
        with self.database.write() as session:
            queue.recover(session)
            submissions.recover(session)
            boards.renew(session)
            files.discard_unreferenced(session, self.storage, self.storage.names())
        self.storage.discard_arriving()
        self.runner.start()

    def prepare(self, benchmark: str, version: int) -> None:
        """Have a benchmark loaded before a file for it comes."""
        self.scorer.prepare(benchmarks.folder_of(self.settings.benchmarks_dir, benchmark, version))

    def withdraw(self, submission_id: str, account: Account, actor: Actor) -> None:
        """Take a submission of an account back, and delete what is stored of it alone; errors are those of `ownership`."""
        with self.database.write() as session:
            submission = ownership.owned(session, submission_id, account)
            orphan = ownership.withdraw(session, submission)
            audit.note(session, actor, Action.SUBMISSION_WITHDRAWN, submission_id)
        self.storage.discard_parts(submission_id)
        if orphan is not None:
            with self.database.write() as session:
                files.discard_unreferenced(session, self.storage, [orphan])

    def close(self) -> None:
        """Finish the running jobs and close everything."""
        if self.runner.stop():
            self.scorer.stop()
        # Otherwise scoring ends with this process, and no sooner: that would count as its failure.
        self.database.close()
        self.held.close()


def expire_uploads(database: Database, storage: Storage) -> None:
    """Give up the uploads whose time is over, and free the space of all that are not waited for any more."""
    # Looked for first: an upload that starts meanwhile has its row before its first part.
    with_parts = storage.uploads()
    with database.write() as session:
        uploads.expire(session)
        waiting = uploads.waiting(session)
    for upload in with_parts:
        if upload not in waiting:
            storage.discard_parts(upload)


def recover_lost(database: Database, in_hand: set[int], streaming: set[str]) -> None:
    """Put back what is taken and not worked on, and give up what is to be received and does not come.

    That is what is left of work whose end could not be written, for instance because the database was in use for long.
    """
    with database.write() as session:
        session.connection()
        # Looked at under the lock, and both are added to under it: whatever else is found in the database is lost.
        queue.recover(session, frozenset(in_hand))
        submissions.recover(session, frozenset(streaming))
