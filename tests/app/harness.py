"""The parts of the service without its server, so that tests run evaluations step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import func, select

from app.accounts import users
from app.accounts.quotas import Quotas
from app.benchmarks import catalog
from app.db.models import Attribution, Event, Kind, Measurement, State, Submission
from app.db.presence import Presence, Use
from app.leaderboard.views import leaderboard_view
from app.management import withdrawal
from app.scoring.evaluator import Evaluator
from app.scoring.sandbox.client import Sandbox
from app.submissions import lifecycle
from app.submissions.fields import SubmissionRequest
from app.submissions.folder_storage import FolderStorage
from tests.app.benchmarks import publish

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.submissions.storage import Storage
    from tests.app.benchmarks import Example


class ServiceHarness:
    """A database, a storage folder, an evaluator and the published toy benchmark, without a server."""

    def __init__(self, database: Database, folder: Path, toy: Example, storage: Storage | None = None) -> None:
        self.database = database
        self.presence = Presence(database, Use.ALONE)
        # With another storage, tests use only what all storages have.
        self.storage = cast("FolderStorage", storage or FolderStorage(folder / "files"))
        self.quotas = Quotas(50, 300)
        self.sandbox = Sandbox()
        self.benchmarks = folder / "benchmarks"
        self.evaluator = Evaluator(database, self.storage, folder / "benchmarks", self.sandbox, retry_seconds=0)
        self.publish(toy.folder)

    def reserve(
        self, size: int, method: str = "ours", *, user: str = "alice", kind: Kind = Kind.RANKED, **fields: Any
    ) -> str:
        """Create a submission that waits for its score file, and return its id."""
        request = SubmissionRequest(benchmark="toy", method=method, kind=kind, title="Ours", size=size, **fields)
        with self.database.write() as session:
            version = catalog.find_version(session, "toy")
            return lifecycle.reserve(session, users.add_user(session, user).id, version, request, self.quotas).id

    def accept(self, content: bytes, method: str = "ours", **fields: Any) -> str:
        """Store and queue a score file, by default of a ranked submission of alice; return the submission's id."""
        submission_id = self.reserve(len(content), method, **fields)
        with self.storage.receive() as arrival:
            arrival.write(content)
            arrival.flush()
            with self.database.write() as session:
                lifecycle.accept(session, self.storage, submission_id, arrival, self.quotas)
        return submission_id

    def close(self) -> None:
        """End the scoring processes, and leave the database to others."""
        self.sandbox.stop()
        self.presence.close()

    def move(self, submission_id: str, before: State, after: State) -> None:
        with self.database.write() as session:
            assert lifecycle.transition(session, submission_id, before, after)

    def withdraw(self, session: Session, submission_id: str) -> None:
        withdrawal.withdraw(session, session.get_one(Submission, submission_id))

    def publish(self, folder: Path) -> None:
        publish(self.database, self.benchmarks, folder)

    def leaderboard(self) -> tuple[int, int, set[str]]:
        """Return version, scorer version and entry ids of the current leaderboard."""
        with self.database.read() as session:
            version = catalog.find_version(session, "toy")
            rows = leaderboard_view(session, version).rows
            return version.version, version.scorer_version, {row.id for row in rows}

    def state(self, submission_id: str) -> str:
        with self.database.read() as session:
            return session.get_one(Submission, submission_id).state

    def count(self, table: type[Attribution | Event | Measurement]) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def files(self) -> int:
        return sum(path.is_file() for path in self.storage.folder.rglob("*"))
