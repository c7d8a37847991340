"""Retries of evaluations that failed permanently: once, with an event and a row of the audit log, and never a duplicate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.accounts.audit import Action, Actor
from app.db.accounts import Audit
from app.db.models import Evaluation, Event, Kind, State, Submission, Version
from app.db.tickets import TICKETS, Queue
from app.management import queue_report, retries
from app.scoring import rescoring
from app.scoring.queue import MAX_FAILURES
from ldsboard.core import result
from ldsboard.problems import ProblemError
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database

ADMIN = Actor("root", "192.0.2.7")


def _retry(harness: ServiceHarness, submission_id: str) -> bool:
    with harness.database.write() as session:
        version_id = session.scalars(select(Version.id)).one()
        was_rescoring = (
            session.scalars(select(Submission.state).where(Submission.id == submission_id)).first() == "scored"
        )
        retried = retries.retry(session, submission_id, version_id, ADMIN)
        ticket = (Queue.RESCORING if was_rescoring else Queue.SCORING, None)
        assert session.info.get(TICKETS, {}) == ({ticket: 1} if retried else {})  # for workers in other processes
        return retried


def _events(harness: ServiceHarness, submission_id: str) -> list[tuple[str | None, str, str | None]]:
    query = select(Event.before, Event.after, Event.detail).where(Event.submission_id == submission_id)
    with harness.database.read() as session:
        return [(before, after, detail) for before, after, detail in session.execute(query.order_by(Event.id))]


def _audit(harness: ServiceHarness) -> list[tuple[str, str | None, str]]:
    query = select(Audit.actor, Audit.address, Audit.subject).where(Audit.action == Action.SUBMISSION_RETRIED)
    with harness.database.read() as session:
        return [(actor, address, subject) for actor, address, subject in session.execute(query)]


def _fail(harness: ServiceHarness, submission_id: str) -> None:
    """Let the evaluations of a submission fail until they are not tried again, and then restore its file."""
    with harness.database.read() as session:
        path = harness.storage.path(str(session.get_one(Submission, submission_id).file_sha256))
    content = path.read_bytes()
    path.unlink()
    for _ in range(MAX_FAILURES):
        assert harness.evaluator.evaluate_next()
    assert not harness.evaluator.evaluate_next()
    path.write_bytes(content)


@pytest.mark.parametrize("kind", list(Kind))
def test_retried_submission_is_queued_and_scored(harness: ServiceHarness, toy: Example, kind: Kind) -> None:
    submission_id = harness.accept(npy(toy.scores()), kind=kind)
    _fail(harness, submission_id)
    assert harness.state(submission_id) == State.FAILED
    assert _retry(harness, submission_id)
    with harness.database.read() as session:
        submission = session.get_one(Submission, submission_id)
        (evaluation,) = submission.evaluations
        assert (submission.state, submission.error) == (State.QUEUED, None)
        assert (evaluation.failures, evaluation.not_before, evaluation.claimed_at) == (0, None, None)
        waiting = queue_report.queue_state(session).waiting[kind]
        retried_at = session.scalars(select(Event.at).where(Event.before == State.FAILED)).one()
    assert _events(harness, submission_id)[-1] == (State.FAILED, State.QUEUED, retries.DETAIL)
    # It waits since the retry, or an alert on a long wait would go off at once.
    assert waiting == (1, 0, retried_at)
    assert evaluation.created_at < retried_at
    assert harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.SCORED


def test_second_retry_changes_nothing(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert not _retry(harness, submission_id)  # it waits, and has not failed
    _fail(harness, submission_id)
    assert _retry(harness, submission_id)
    before = (_events(harness, submission_id), _audit(harness))
    assert not _retry(harness, submission_id)
    assert (_events(harness, submission_id), _audit(harness)) == before
    assert _audit(harness) == [("root", "192.0.2.7", submission_id)]
    assert harness.evaluator.evaluate_next()
    assert not _retry(harness, submission_id)
    assert harness.state(submission_id) == State.SCORED
    assert not harness.evaluator.evaluate_next()


def test_submission_that_failed_before_an_upgrade_is_scored_by_the_new_scorer(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _fail(harness, submission_id)
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    assert _retry(harness, submission_id)
    assert harness.evaluator.evaluate_next()
    with harness.database.read() as session:
        (evaluation,) = session.scalars(select(Evaluation))
    assert (evaluation.scorer_version, evaluation.scored_at is not None) == (2, True)


def test_retried_rescoring_lets_the_board_switch(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with harness.database.write() as session:
        rescoring.queue_rescorings(session)
    _fail(harness, submission_id)
    assert harness.leaderboard() == (1, 1, {submission_id})
    events = _events(harness, submission_id)
    assert _retry(harness, submission_id)
    assert not _retry(harness, submission_id)
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (1, 2, {submission_id})
    assert _events(harness, submission_id) == events  # a rescoring changes no state
    assert len(_audit(harness)) == 1


def test_file_that_was_sent_again_is_not_retried(harness: ServiceHarness, toy: Example) -> None:
    failed = harness.accept(npy(toy.scores()))
    _fail(harness, failed)
    again = harness.accept(npy(toy.scores()))
    assert again != failed
    with pytest.raises(ProblemError, match="has sent the file again") as refused:
        _retry(harness, failed)
    assert (refused.value.problem.code, again in refused.value.problem.detail) == ("request.conflict", True)
    assert (harness.state(failed), _audit(harness)) == (State.FAILED, [])


def test_unknown_submission_is_not_retried(harness: ServiceHarness) -> None:
    with pytest.raises(ProblemError) as refused:
        _retry(harness, "0" * 16)
    assert refused.value.problem.code == "submission.unknown"


def test_withdrawn_submission_is_not_retried(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _fail(harness, submission_id)
    with harness.database.write() as session:
        harness.withdraw(session, submission_id)
    assert not _retry(harness, submission_id)
    assert harness.state(submission_id) == State.WITHDRAWN
