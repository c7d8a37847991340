"""What the operator sees of the queue, on both databases: the states of a few submissions, one after the other."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select, update

from app.accounts.audit import OPERATOR
from app.db.base import now
from app.db.models import Evaluation, Kind, State, Submission, Version
from app.management import moderation, queue_report
from app.management.queue_report import RESCORING, Waiting
from app.scoring import queue, rescoring
from app.scoring.queue import MAX_FAILURES
from ldsboard.core import result
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database

R, P = Kind.RANKED, Kind.PRACTICE
NONE = {"ranked": 0, "practice": 0, "rescoring": 0}


def _state(harness: ServiceHarness) -> queue_report.Queue:
    with harness.database.read() as session:
        return queue_report.queue_state(session)


def _counts(harness: ServiceHarness) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return the numbers of waiting, running and failed evaluations by kind."""
    state = _state(harness)
    with harness.database.read() as session:
        assert sum(state.running.values()) == len(queue_report.running(session))
        assert sum(state.failed.values()) == len(queue_report.failed(session))
    return {kind: found.number for kind, found in state.waiting.items()}, state.running, state.failed


def _lose_file(harness: ServiceHarness, submission_id: str) -> bytes:
    with harness.database.read() as session:
        path = harness.storage.path(str(session.get_one(Submission, submission_id).file_sha256))
    content = path.read_bytes()
    path.unlink()
    return content


def test_evaluations_are_counted_while_they_wait_and_run(harness: ServiceHarness, toy: Example) -> None:
    assert _counts(harness) == (NONE, NONE, NONE)
    sent = [("ann", R), ("ann", P), ("ben", P)]
    ids = [
        harness.accept(npy(toy.scores(seed=i)), f"m{i}", user=user, kind=kind) for i, (user, kind) in enumerate(sent)
    ]
    assert _counts(harness) == (NONE | {"ranked": 1, "practice": 2}, NONE, NONE)
    with harness.database.write() as session:
        queue.claim(session)
        session.execute(update(Evaluation).values(percent=40))
    assert _counts(harness) == (NONE | {"practice": 2}, NONE | {"ranked": 1}, NONE)
    with harness.database.read() as session:
        (found,) = queue_report.running(session)
        version_id = session.scalars(select(Version.id)).one()
        states = queue_report.submission_counts(session)
    assert found.named == (ids[0], version_id, "m0", "ann", "toy", 1, "ranked")
    assert (found.attempt, found.percent) == (1, 40)
    assert timedelta(0) <= now() - found.since < timedelta(minutes=1)
    assert states == dict.fromkeys(State, 0) | {State.SCORING: 1, State.QUEUED: 2}


def test_oldest_evaluation_of_each_kind_is_found(harness: ServiceHarness, toy: Example) -> None:
    times = {}
    for number, (kind, minutes) in enumerate([(R, 3), (R, 9), (P, 5)]):
        submission_id = harness.accept(npy(toy.scores(seed=number)), f"m{number}", kind=kind)
        times[number] = now() - timedelta(minutes=minutes)
        with harness.database.write() as session:
            of_this = Evaluation.submission_id == submission_id
            session.execute(update(Evaluation).where(of_this).values(created_at=times[number]))
    waiting = _state(harness).waiting
    assert waiting == {"ranked": Waiting(2, 0, times[1]), "practice": Waiting(1, 0, times[2]), RESCORING: Waiting()}


def test_submissions_of_banned_users_are_held(harness: ServiceHarness, toy: Example) -> None:
    harness.accept(npy(toy.scores()), user="ann")
    harness.accept(npy(toy.scores(seed=1)), user="mallory")
    with harness.database.write() as session:
        moderation.ban(session, "mallory", "Copies.", "the operator", OPERATOR)
    state = _state(harness)
    assert (state.waiting["ranked"].number, state.held) == (1, 1)


def test_failures_are_counted_until_they_are_permanent(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _lose_file(harness, submission_id)
    for _ in range(MAX_FAILURES - 1):
        assert harness.evaluator.evaluate_next()
        assert _state(harness).waiting["ranked"][:2] == (1, 1)
    assert harness.evaluator.evaluate_next()
    assert _counts(harness) == (NONE, NONE, NONE | {"ranked": 1})
    with harness.database.read() as session:
        (found,) = queue_report.failed(session)
        problems = queue_report.problem_counts(session)
    assert (found.named.submission_id, found.named.kind, found.failures) == (submission_id, "ranked", MAX_FAILURES)
    assert found.at is not None
    assert found.error is not None
    assert found.error.startswith(f"LostFileError('The folder {harness.storage.folder} does not hold ")
    assert problems == {"internal.failed": 1}


def test_rejected_file_is_neither_running_nor_failed(harness: ServiceHarness, toy: Example) -> None:
    harness.accept(npy(np.full_like(toy.scores(), np.nan)))
    assert harness.evaluator.evaluate_next()
    assert _counts(harness) == (NONE, NONE, NONE)
    with harness.database.read() as session:
        assert queue_report.problem_counts(session) == {"scores.nonfinite": 1}


def test_rescorings_wait_run_and_fail_apart_from_first_evaluations(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with harness.database.write() as session:
        rescoring.queue_rescorings(session)
    assert _counts(harness) == (NONE | {RESCORING: 1}, NONE, NONE)
    with harness.database.write() as session:
        queue.claim(session)
    assert _counts(harness) == (NONE, NONE | {RESCORING: 1}, NONE)
    with harness.database.write() as session:
        queue.requeue_abandoned(session)
    _lose_file(harness, submission_id)
    for _ in range(MAX_FAILURES):
        assert harness.evaluator.evaluate_next()
    assert _counts(harness) == (NONE, NONE, NONE | {RESCORING: 1})
    with harness.database.read() as session:
        (found,) = queue_report.failed(session)
    assert (found.named.kind, found.at, found.error) == (RESCORING, None, None)
    monkeypatch.setattr(result, "SCORER_VERSION", 3)  # nobody needs the result of the earlier scorer any more
    assert _counts(harness) == (NONE, NONE, NONE)


def test_only_evaluations_of_the_last_hour_count_as_recent(harness: ServiceHarness, toy: Example) -> None:
    for seed, (minutes, seconds) in enumerate([(5, 2.0), (59, 0.5), (61, 8.0)]):
        submission_id = harness.accept(npy(toy.scores(seed=seed)), f"m{seed}")
        assert harness.evaluator.evaluate_next()
        with harness.database.write() as session:
            values = {"scored_at": now() - timedelta(minutes=minutes), "seconds": seconds}
            session.execute(update(Evaluation).where(Evaluation.submission_id == submission_id).values(values))
    with harness.database.read() as session:
        assert queue_report.recently_scored(session) == (2, 2.5, 2.0)


def test_nothing_was_scored_in_the_last_hour(harness: ServiceHarness) -> None:
    with harness.database.read() as session:
        assert queue_report.recently_scored(session) == (0, 0.0, 0.0)
