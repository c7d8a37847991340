"""The evaluator: evaluations can be repeated safely, and failures are retried."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from app.db.models import Evaluation, Event, Measurement, State, Submission
from app.scoring import queue
from app.scoring.queue import MAX_FAILURES
from ldsboard import ProblemError
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


def _evaluation(harness: ServiceHarness) -> Evaluation:
    with harness.database.read() as session:
        return session.get_one(Evaluation, 1)


def test_result_is_written_once(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.SCORED
    events = harness.count(Event)
    harness.evaluator.evaluate(_evaluation(harness))
    assert (harness.count(Event), harness.count(Measurement)) == (events, 2)
    assert not harness.evaluator.evaluate_next()


def test_unclaimed_evaluation_is_left_in_the_queue(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    harness.evaluator.evaluate(_evaluation(harness))  # without a claim, so the evaluation stays queued
    assert (harness.state(submission_id), harness.count(Measurement)) == (State.QUEUED, 0)
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), harness.count(Measurement)) == (State.SCORED, 2)


def test_unclaimed_invalid_file_is_not_rejected(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(np.full_like(toy.scores(), np.nan)))
    harness.evaluator.evaluate(_evaluation(harness))
    assert (harness.state(submission_id), harness.files()) == (State.QUEUED, 1)
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), harness.files()) == (State.REJECTED, 0)


@pytest.mark.parametrize("outcome", ["scored", "rejected", "failed"])
def test_run_saves_nothing_after_its_evaluation_was_claimed_again(
    harness: ServiceHarness,
    toy: Example,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcome: str,
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    score = harness.sandbox.score

    def score_and_claim_again(*arguments: Any) -> Any:
        result = score(*arguments)
        with harness.database.write() as session:
            queue.requeue(session, session.get_one(Evaluation, 1), "requeued")
            assert queue.claim(session) == session.get_one(Evaluation, 1)
        if outcome == "rejected":
            raise ProblemError("scores.nonfinite", "A score is NaN.", "Remove the NaN.")
        if outcome == "failed":
            raise RuntimeError
        return result

    monkeypatch.setattr(harness.sandbox, "score", score_and_claim_again)
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), harness.files(), harness.count(Measurement)) == (State.SCORING, 1, 0)
    logged = capsys.readouterr().out
    assert "evaluation.refused" in logged
    assert outcome in logged
    assert not re.search(r"submission\.(scored|rejected|failed)", logged)


def test_failed_evaluation_is_retried_then_marked_failed(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    with harness.database.read() as session:
        sha256 = session.get_one(Submission, submission_id).file_sha256
    assert sha256 is not None
    harness.storage.delete(sha256)
    for state in (*[State.QUEUED] * (MAX_FAILURES - 1), State.FAILED):
        assert harness.evaluator.evaluate_next()
        assert harness.state(submission_id) == state
    assert not harness.evaluator.evaluate_next()


def _break(harness: ServiceHarness, statement: str) -> None:
    """Make a kind of database statement fail, as with a full disk."""
    with harness.database.write() as session:
        session.execute(text(f"CREATE TRIGGER full {statement} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"))


def test_evaluation_is_retried_when_its_result_cannot_be_written(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _break(harness, "BEFORE INSERT ON measurement")
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), harness.count(Measurement)) == (State.QUEUED, 0)
    with harness.database.write() as session:
        session.execute(text("DROP TRIGGER full"))
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), harness.count(Measurement)) == (State.SCORED, 2)


def test_submission_is_requeued_when_its_rejection_cannot_be_written(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(np.full_like(toy.scores(), np.nan)))
    _break(harness, "BEFORE UPDATE OF error ON submission WHEN NEW.error IS NOT NULL")
    with pytest.raises(IntegrityError, match="the disk is full"):
        harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.QUEUED


def test_oldest_submission_is_evaluated_first(harness: ServiceHarness, toy: Example) -> None:
    ids = [harness.accept(npy(toy.scores(seed=seed))) for seed in range(3)]
    for done in range(1, 4):
        assert harness.evaluator.evaluate_next()
        assert [harness.state(submission_id) for submission_id in ids] == ["scored"] * done + ["queued"] * (3 - done)
