"""Evaluations are safe to do twice, and to do when somebody else has done them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.models import Event, Measurement, State, Submission
from app.scoring.queue import MAX_FAILURES
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import Desk


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
