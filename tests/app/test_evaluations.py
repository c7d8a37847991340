"""Evaluations are safe to do twice, and to do when somebody else has done them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from app.db.models import Event, Kind, Measurement, State, Submission
from app.sandbox.scorer import Scorer
from app.services import accounts, benchmarks, ownership, submissions, tokens
from app.services.evaluations import Evaluator
from app.services.queue import MAX_FAILURES
from app.services.quotas import Quotas
from app.services.submissions import Entry
from app.storage import Storage
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
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

    def count(self, table: type[Event | Measurement]) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def files(self) -> int:
        return sum(path.is_file() for path in self.storage.folder.rglob("*"))


@pytest.fixture
def desk(database: Database, tmp_path: Path, toy: Example) -> Iterator[Desk]:
    opened = Desk(database, tmp_path, toy)
    yield opened
    opened.scorer.stop()


def test_a_result_is_written_once(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    assert desk.evaluator.work()
    assert desk.state(submission_id) == State.SCORED
    events = desk.count(Event)
    desk.evaluator.evaluate(1)
    assert (desk.count(Event), desk.count(Measurement)) == (events, 2)
    assert not desk.evaluator.work()


def test_a_result_that_comes_after_a_restart_is_left_to_the_next_to_write(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    desk.evaluator.evaluate(1)  # nobody claimed it: it still waits
    assert (desk.state(submission_id), desk.count(Measurement)) == (State.QUEUED, 0)
    assert desk.evaluator.work()
    assert (desk.state(submission_id), desk.count(Measurement)) == (State.SCORED, 2)


def test_a_bad_file_that_is_not_being_scored_is_not_rejected(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(np.full_like(toy.scores(), np.nan)))
    desk.evaluator.evaluate(1)
    assert (desk.state(submission_id), desk.files()) == (State.QUEUED, 1)
    assert desk.evaluator.work()
    assert (desk.state(submission_id), desk.files()) == (State.REJECTED, 0)


def test_a_failure_is_tried_again_and_then_given_up(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    with desk.database.read() as session:
        sha256 = session.get_one(Submission, submission_id).file_sha256
    assert sha256 is not None
    desk.storage.delete(sha256)
    for state in (*[State.QUEUED] * (MAX_FAILURES - 1), State.FAILED):
        assert desk.evaluator.work()
        assert desk.state(submission_id) == state
    assert not desk.evaluator.work()


def _forbid(desk: Desk, statement: str) -> None:
    """Make the database fail at something, as a full disk would."""
    with desk.database.write() as session:
        session.execute(text(f"CREATE TRIGGER full {statement} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"))


def test_a_result_that_cannot_be_written_is_tried_again(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    _forbid(desk, "BEFORE INSERT ON measurement")
    assert desk.evaluator.work()
    assert (desk.state(submission_id), desk.count(Measurement)) == (State.QUEUED, 0)
    with desk.database.write() as session:
        session.execute(text("DROP TRIGGER full"))
    assert desk.evaluator.work()
    assert (desk.state(submission_id), desk.count(Measurement)) == (State.SCORED, 2)


def test_a_submission_whose_outcome_cannot_be_written_is_not_stuck(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(np.full_like(toy.scores(), np.nan)))
    _forbid(desk, "BEFORE UPDATE OF error ON submission WHEN NEW.error IS NOT NULL")
    with pytest.raises(IntegrityError, match="the disk is full"):
        desk.evaluator.work()
    assert desk.state(submission_id) == State.QUEUED


def test_the_oldest_comes_first(desk: Desk, toy: Example) -> None:
    ids = [desk.accept(npy(toy.scores(seed=seed))) for seed in range(3)]
    for done in range(1, 4):
        assert desk.evaluator.work()
        assert [desk.state(submission_id) for submission_id in ids] == ["scored"] * done + ["queued"] * (3 - done)
