"""Submission states: only the listed transitions are possible, each happens once, and each writes an event."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.accounts.quotas import Quotas
from app.db.accounts import User
from app.db.models import (
    FINAL,
    TRANSITIONS,
    Benchmark,
    Evaluation,
    Event,
    File,
    Kind,
    Measurement,
    State,
    Submission,
    Version,
)
from app.scoring import queue
from app.submissions import lifecycle
from app.submissions.folder_storage import FolderStorage
from ldsboard import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.base import Base
    from app.db.sessions import Database

ERROR = {"code": "internal.failed", "detail": "There is no result.", "hint": "Wait."}
PAIRS = list(product(State, State))


def _submission(database: Database, state: State = State.UPLOADING, **values: Any) -> str:
    """Insert a submission with its user, benchmark and version, and return its id."""
    with database.write() as session:
        user = session.scalar(select(User)) or User(name="alice")
        benchmark = session.scalar(select(Benchmark)) or Benchmark(name="toy", current_version=1)
        version = session.scalar(select(Version)) or Version(
            benchmark=benchmark, version=1, manifest={}, scorer_version=1
        )
        submission = Submission(
            user=user, version=version, kind=Kind.RANKED, method="ours", title="Ours", size=1, state=state, **values
        )
        if state in (State.REJECTED, State.FAILED):
            submission.error = ERROR
        session.add_all([benchmark, submission])
        session.flush()
        return submission.id


def _state(database: Database, submission_id: str) -> str:
    with database.read() as session:
        return session.get_one(Submission, submission_id).state


def _events(database: Database, submission_id: str) -> list[tuple[str | None, str, str | None]]:
    with database.read() as session:
        events = session.scalars(select(Event).where(Event.submission_id == submission_id).order_by(Event.id))
        return [(event.before, event.after, event.detail) for event in events]


def _move(database: Database, submission_id: str, before: State, after: State) -> bool:
    error = ERROR if after in (State.REJECTED, State.FAILED) else None
    with database.write() as session:
        return lifecycle.transition(session, submission_id, before, after, detail="because", error=error)


def test_transitions_cover_all_states_and_reach_them_from_uploading() -> None:
    assert set(TRANSITIONS) == set(State)
    reached, new = set(), {State.UPLOADING}
    while new:
        reached |= new
        new = {after for state in new for after in TRANSITIONS[state]} - reached
    assert reached == set(State)
    assert {State.UPLOADING, State.QUEUED, State.SCORING} == set(State) - FINAL
    assert TRANSITIONS[State.SCORED] == {State.WITHDRAWN}, "a published result can only be withdrawn"
    assert not TRANSITIONS[State.EXPIRED] | TRANSITIONS[State.WITHDRAWN]


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_only_listed_transitions_are_allowed(database: Database, before: State, after: State) -> None:
    submission_id = _submission(database, before)
    if after in TRANSITIONS[before]:
        assert _move(database, submission_id, before, after)
        assert _state(database, submission_id) == after
        assert _events(database, submission_id) == [(before, after, "because")]
    else:
        with pytest.raises(ValueError, match=f"cannot move from {before} to {after}"):
            _move(database, submission_id, before, after)
        assert _state(database, submission_id) == before
        assert _events(database, submission_id) == []


def test_submission_in_another_state_is_not_moved(database: Database) -> None:
    submission_id = _submission(database, State.SCORED)
    assert not _move(database, submission_id, State.QUEUED, State.SCORING)
    assert not _move(database, "0" * 16, State.QUEUED, State.SCORING)
    assert _state(database, submission_id) == State.SCORED
    assert _events(database, submission_id) == []


def test_one_of_several_simultaneous_moves_succeeds(database: Database) -> None:
    submission_id = _submission(database, State.QUEUED)
    together = Barrier(8)

    def take(_: int) -> bool:
        together.wait()
        return _move(database, submission_id, State.QUEUED, State.SCORING)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(8))) == 1
    assert len(_events(database, submission_id)) == 1


def _measurement(part: str) -> Measurement:
    numbers = dict.fromkeys(
        ("lds", "std_error", "ci_low", "ci_high", "mean_p", "z_random", "p_random", "grid_loss"), 0.0
    )
    return Measurement(
        evaluation_id=1, part=part, constant_predictions=0, warnings=[], influence=b"", per_target=b"", **numbers
    )


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE submission SET state = 'lost'", "ck_submission_state"),
        ("UPDATE submission SET kind = 'secret'", "ck_submission_kind"),
        ("UPDATE submission SET visibility = 'nobody'", "ck_submission_visibility"),
        ("UPDATE submission SET state = 'rejected'", "ck_submission_error"),
        ("UPDATE submission SET state = 'failed'", "ck_submission_error"),
        ("UPDATE submission SET error = '{}'", "ck_submission_error"),
        ("UPDATE submission SET user_id = 77", "FOREIGN KEY"),
        ("UPDATE submission SET file_sha256 = 'ab'", "FOREIGN KEY"),
        ("UPDATE submission SET method = NULL", "NOT NULL"),
    ],
)
def test_database_constraints_reject_invalid_submissions(database: Database, statement: str, constraint: str) -> None:
    _submission(database)
    with pytest.raises(IntegrityError, match=constraint), database.write() as session:
        session.execute(text(statement))


def test_database_constraints_reject_invalid_files_measurements_and_duplicates(database: Database) -> None:
    submission_id = _submission(database, State.QUEUED)

    def evaluation() -> Evaluation:
        return Evaluation(submission_id=submission_id, version_id=1, scorer_version=1)

    with database.write() as session:
        session.add_all([evaluation(), User(name="bob")])
    rows: list[tuple[Base, str]] = [
        (File(sha256="a", size=1, references=0), "ck_file_referenced"),
        (_measurement("private"), "ck_measurement_part"),
        (evaluation(), "UNIQUE"),
        (User(name="bob"), "UNIQUE"),
    ]
    for row, constraint in rows:
        with pytest.raises(IntegrityError, match=constraint), database.write() as session:
            session.add(row)


def test_failed_write_is_rolled_back(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(User(name="carol"))
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.read() as session:
        assert session.scalar(select(User)) is None


def test_file_of_an_expired_submission_is_not_stored(database: Database, tmp_path: Path) -> None:
    submission_id = _submission(database)
    storage = FolderStorage(tmp_path / "files")
    assert _move(database, submission_id, State.UPLOADING, State.EXPIRED)
    with storage.receive() as arrival:
        arrival.write(b"scores")
        arrival.flush()
        with pytest.raises(ProblemError, match="expired before its file was complete"), database.write() as session:
            lifecycle.accept(session, storage, submission_id, arrival, Quotas(1, 1))
    assert not storage.path(arrival.sha256).exists()
    assert [path for path in storage.folder.rglob("*") if path.is_file()] == []


def test_startup_requeues_expires_and_deletes_partial_files(database: Database, tmp_path: Path) -> None:
    ids = {state: _submission(database, state) for state in State}
    with database.write() as session:
        queue.requeue_abandoned(session)
        lifecycle.expire_single_uploads(session)
    after = {state: _state(database, submission_id) for state, submission_id in ids.items()}
    assert after == {state: state for state in State} | {
        State.UPLOADING: State.EXPIRED,
        State.SCORING: State.QUEUED,
    }
    storage = FolderStorage(tmp_path / "files")
    (storage.scratch / "left").write_bytes(b"half a file")
    with storage.receive() as arriving:
        FolderStorage(tmp_path / "files").delete_incomplete()
        assert list(storage.scratch.iterdir()) == [arriving.path]


def test_timestamps_are_stored_in_utc(database: Database) -> None:
    submission_id = _submission(database)
    with database.read() as session:
        created_at = session.get_one(Submission, submission_id).created_at
    assert created_at.utcoffset() is not None
    assert str(created_at.tzinfo) == "UTC"
