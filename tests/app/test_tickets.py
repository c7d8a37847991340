"""Tickets for workers: they commit with the submission, missing ones are replaced, and lost evaluations are queued again."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from procrastinate.schema import SchemaManager
from sqlalchemy import select, text, update

from app.accounts.audit import OPERATOR
from app.db.base import now
from app.db.models import Evaluation, State, Submission
from app.db.sessions import Database
from app.db.tickets import Queue, note_ticket
from app.management import moderation, queue_report, recovery
from app.scoring import lost_evaluations, queue
from tests.app.benchmarks import write_benchmark
from tests.app.harness import ServiceHarness
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

pytestmark = pytest.mark.database

SCHEMA = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"
"""SHA-256 of the statements with which migration 0027 creates the tables of procrastinate."""


@pytest.fixture
def harness(cluster: Cluster, tmp_path: Path, toy: Example) -> Iterator[ServiceHarness]:
    """A service whose evaluations are left to workers, on PostgreSQL."""
    with closing(Database(cluster.create(), tickets=True)) as database:
        opened = ServiceHarness(database, tmp_path, toy)
        yield opened
        opened.close()


def _tickets(harness: ServiceHarness) -> list[tuple[str, bool]]:
    """Return the queue of each ticket, and whether the ticket has a time before which no worker takes it."""
    query = "SELECT queue_name, scheduled_at IS NOT NULL FROM procrastinate_jobs ORDER BY id"
    with harness.database.read() as session:
        return [(name, later) for name, later in session.execute(text(query))]


def _begin_ticket(harness: ServiceHarness, *, heartbeat_age: float = 0.0) -> int:
    """Let a worker whose last heartbeat has some age (s) take the oldest ticket, and return the ticket's id."""
    register = text(
        "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - make_interval(secs => :age)) RETURNING id"
    )
    take = text(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = :worker "
        "WHERE id = (SELECT min(id) FROM procrastinate_jobs WHERE status = 'todo') RETURNING id"
    )
    with harness.database.write() as session:
        worker = session.execute(register, {"age": heartbeat_age}).scalar_one()
        return int(session.execute(take, {"worker": worker}).scalar_one())


def _claim(harness: ServiceHarness, job: int) -> Evaluation:
    with harness.database.write() as session:
        claimed = queue.claim(session, Queue.SCORING, job=job)
        assert claimed is not None
        return claimed


def test_tables_are_those_of_the_installed_procrastinate() -> None:
    # If this fails after an upgrade of procrastinate, add a migration with the statements that it ships, see 0027.
    assert sha256(SchemaManager.get_schema().encode()).hexdigest() == SCHEMA


def test_ticket_commits_with_its_submission(harness: ServiceHarness, toy: Example) -> None:
    harness.accept(npy(toy.scores()))
    assert _tickets(harness) == [("scoring", False)]

    def fail_to_accept() -> None:
        with harness.database.write() as session:
            note_ticket(session, Queue.SCORING)
            session.connection()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_to_accept()
    assert _tickets(harness) == [("scoring", False)]


def test_retry_has_a_ticket_for_its_time(harness: ServiceHarness, toy: Example) -> None:
    harness.accept(npy(toy.scores()))
    claimed = _claim(harness, _begin_ticket(harness))
    with harness.database.write() as session:
        assert queue.record_failure(session, session.get_one(Evaluation, claimed.id), 60.0)
    assert _tickets(harness)[1:] == [("scoring", True)]


def test_new_version_has_tickets_for_its_rescorings(harness: ServiceHarness, toy: Example, tmp_path: Path) -> None:
    for seed in (1, 2):
        harness.accept(npy(toy.scores(seed=seed)), f"m{seed}")
        assert harness.evaluator.evaluate_next(Queue.SCORING)
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    assert _tickets(harness)[2:] == [("rescoring", False)] * 2
    assert not harness.evaluator.evaluate_next(Queue.SCORING)
    assert harness.evaluator.evaluate_next(Queue.RESCORING)


def test_evaluation_of_a_living_worker_is_left_alone(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _claim(harness, _begin_ticket(harness, heartbeat_age=10.0))
    lost_evaluations.recover(harness.database, 30.0)
    assert harness.state(submission_id) == State.SCORING
    assert len(_tickets(harness)) == 1


@pytest.mark.parametrize("loss", ["worker without heartbeat", "ticket is gone", "ticket is done", "claim of a server"])
def test_lost_evaluation_is_queued_again(
    harness: ServiceHarness, toy: Example, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "process_name", lambda: "dead-host/17")
    submission_id = harness.accept(npy(toy.scores()))
    job = _begin_ticket(harness, heartbeat_age=31.0 if loss == "worker without heartbeat" else 0.0)
    claimed = _claim(harness, job)
    changes = {
        "ticket is gone": "DELETE FROM procrastinate_jobs",
        "ticket is done": "UPDATE procrastinate_jobs SET status = 'succeeded'",
        "claim of a server": "UPDATE evaluation SET job = NULL",
    }
    with harness.database.write() as session:
        session.execute(text(changes.get(loss, "SELECT 1")))
    lost_evaluations.recover(harness.database, 30.0)
    assert harness.state(submission_id) == State.QUEUED
    assert _tickets(harness)[-1] == ("scoring", False)
    (found,) = _lost(harness)
    assert found.named[::2] == (submission_id, "ours", "toy", "ranked")
    assert (found.named.owner, found.worker, found.state, found.by) == ("alice", "dead-host/17", "queued", None)
    assert claimed.claimed_at is not None
    assert claimed.claimed_at <= found.seen_at <= found.at
    with harness.database.read() as session:
        assert queue.held(session, claimed) is None


def test_server_that_leads_requeues_what_the_last_worker_held(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _claim(harness, _begin_ticket(harness, heartbeat_age=10.0))
    recovery.recover_lost(harness.database, None, harness.presence)
    assert harness.state(submission_id) == State.SCORING
    with harness.database.write() as session:
        session.execute(text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'"))
    recovery.recover_lost(harness.database, None, harness.presence)
    assert harness.state(submission_id) == State.QUEUED
    with harness.database.read() as session:
        assert queue_report.queue_state(session).running["ranked"] == 0


def _lost(harness: ServiceHarness) -> list[queue_report.Lost]:
    with harness.database.read() as session:
        return queue_report.lost(session)


def test_operator_sees_what_became_of_a_lost_rescoring(
    harness: ServiceHarness, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next(Queue.SCORING)
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    with harness.database.write() as session:
        session.execute(text("DELETE FROM procrastinate_jobs WHERE queue_name = 'scoring'"))
    heartbeats = {}
    for name in ("first/1", "second/2"):
        monkeypatch.setattr(queue, "process_name", lambda name=name: name)
        job = _begin_ticket(harness)
        with harness.database.write() as session:
            assert queue.claim(session, Queue.RESCORING, job=job) is not None
            session.execute(
                update(Evaluation).where(Evaluation.job == job).values(claimed_at=now() - timedelta(hours=1))
            )
            stop = text(
                "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s' RETURNING last_heartbeat"
            )
            heartbeats[name] = session.scalars(stop).all()[-1]
        lost_evaluations.recover(harness.database, 30.0)
    second, first = _lost(harness)
    assert [(each.worker, each.named.kind, each.named.version) for each in (first, second)] == [
        (name, "rescoring", 2) for name in heartbeats
    ]
    assert first.seen_at < first.at < second.at
    assert second.seen_at == heartbeats["second/2"]
    assert second.state == "queued"
    monkeypatch.setattr(queue, "process_name", lambda: "third/3")
    job = _begin_ticket(harness)
    with harness.database.write() as session:
        assert queue.claim(session, Queue.RESCORING, job=job) is not None
    assert {(each.state, each.by) for each in _lost(harness)} == {("running", "third/3")}
    with harness.database.write() as session:
        queue.requeue_abandoned(session)
    assert harness.evaluator.evaluate_next(Queue.RESCORING)
    assert {(each.state, each.by) for each in _lost(harness)} == {("scored", "third/3")}
    with harness.database.write() as session:
        scored = session.scalars(select(Evaluation).where(Evaluation.lost_workers.is_not(None))).one()
        assert second.at < (_lost(harness)[0].since or second.at) == scored.scored_at
        yesterday = [each | {"at": (now() - timedelta(hours=25)).isoformat()} for each in scored.lost_workers or []]
        scored.lost_workers = yesterday
    assert _lost(harness) == []


def test_evaluation_that_ends_many_workers_fails(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    _claim(harness, _begin_ticket(harness, heartbeat_age=31.0))
    with harness.database.write() as session:
        session.execute(update(Evaluation).values(losses=queue.MAX_LOSSES - 1))
    lost_evaluations.recover(harness.database, 30.0)
    with harness.database.read() as session:
        submission = session.get_one(Submission, submission_id)
        assert (submission.state, (submission.error or {})["code"]) == (State.FAILED, "internal.failed")
        assert session.scalars(select(Evaluation.failures)).one() == queue.MAX_FAILURES
    lost_evaluations.recover(harness.database, 30.0)
    assert len(_tickets(harness)) == 1


def test_missing_tickets_are_replaced_once(harness: ServiceHarness, toy: Example) -> None:
    for seed in (1, 2, 3):
        harness.accept(npy(toy.scores(seed=seed)), f"m{seed}")
    with harness.database.write() as session:
        moderation.ban(session, "alice", "Sends too much.", "the operator", OPERATOR)
        session.execute(text("DELETE FROM procrastinate_jobs"))  # workers found nothing to claim
    lost_evaluations.recover(harness.database, 30.0)
    assert _tickets(harness) == []
    with harness.database.write() as session:
        moderation.lift_ban(session, "alice", OPERATOR)
    for _ in range(2):
        lost_evaluations.recover(harness.database, 30.0)
        assert _tickets(harness) == [("scoring", False)] * 3


def test_stopped_worker_gives_back_only_what_it_holds(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    job = _begin_ticket(harness)
    claimed = _claim(harness, job)
    harness.evaluator.running[claimed.id] = claimed
    harness.evaluator.release()
    assert harness.state(submission_id) == State.QUEUED
    assert len(_tickets(harness)) == 2
    again = _claim(harness, job)
    harness.evaluator.release()  # the old claim again
    assert harness.state(submission_id) == State.SCORING
    with harness.database.read() as session:
        assert queue.held(session, again) is not None
