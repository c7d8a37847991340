"""What one server process is made of, opened at its start and closed at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from app.db.sessions import Database
from app.jobs import Runner
from app.services import submissions
from app.services.evaluations import Evaluator
from app.storage import Storage

if TYPE_CHECKING:
    from app.settings import Settings


@dataclass(frozen=True)
class Rooms:
    """The database, the files and the job runner of a server."""

    settings: Settings
    database: Database
    storage: Storage
    runner: Runner

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open everything; the schema must be there already."""
        database = Database(settings.resolved_database_url)
        storage = Storage(settings.storage_dir)
        evaluator = Evaluator(database, storage, settings.benchmarks_dir)
        return cls(settings, database, storage, Runner(evaluator.work, settings.scoring_processes))

    def start(self) -> None:
        """Take up what an earlier process left unfinished, and begin to work."""
        with self.database.write() as session:
            submissions.recover(session)
        self.storage.discard_arriving()
        self.runner.start()

    def close(self) -> None:
        """Finish the running jobs and close everything."""
        self.runner.stop()
        self.database.close()
