"""The evaluations of a service without its server, one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.db.models import Attribution, Event, Kind, Measurement, State, Submission
from app.sandbox.scorer import Scorer
from app.services import accounts, benchmarks, ownership, submissions, tokens
from app.services.evaluations import Evaluator
from app.services.quotas import Quotas
from app.services.submissions import Entry
from app.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


class Desk:
    """A database, files and a benchmark, without a server."""

    def __init__(self, database: Database, folder: Path, toy: Example) -> None:
        self.database = database
        self.storage = Storage(folder / "files")
        self.scorer = Scorer()
        self.benchmarks = folder / "benchmarks"
        self.evaluator = Evaluator(database, self.storage, folder / "benchmarks", self.scorer, retry_seconds=0)
        with database.write() as session:
            benchmarks.publish(session, folder / "benchmarks", toy.folder)
            _, token = tokens.create(session, accounts.add_user(session, "alice"))
            self.account = accounts.authenticate(session, f"Bearer {token}")

    def accept(self, content: bytes, method: str = "ours") -> str:
        """Take a ranked score file in."""
        entry = Entry("toy", method, "Ours", Kind.RANKED, None, len(content))
        with self.database.write() as session:
            version = benchmarks.find(session, "toy")
            submission_id = submissions.reserve(session, self.account, version, entry, Quotas(5, 30)).id
        with self.storage.receive() as arrival:
            arrival.write(content)
            sha256 = arrival.flush()
            with self.database.write() as session:
                submissions.accept(session, self.storage, submission_id, arrival, sha256)
        return submission_id

    def move(self, submission_id: str, before: State, after: State) -> None:
        with self.database.write() as session:
            assert submissions.move(session, submission_id, before, after)

    def withdraw(self, session: Session, submission_id: str) -> None:
        ownership.withdraw(session, session.get_one(Submission, submission_id))

    def state(self, submission_id: str) -> str:
        with self.database.read() as session:
            return session.get_one(Submission, submission_id).state

    def count(self, table: type[Attribution | Event | Measurement]) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def files(self) -> int:
        return sum(path.is_file() for path in self.storage.folder.rglob("*"))
