"""Sweeps of the retention: batches, races, pauses, the audit log, and the operator's command."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from app.db.accounts import Audit
from app.db.base import now
from app.db.models import Event, State
from app.management import retention
from app.management.retention import Deleted, Periods, Retention, sweep
from app.settings import Settings
from tests.app.aging import DAY, NOTHING, PERIODS, age, are_kept, practise, sweep_all
from tests.app.commands import run_in_process
from tests.app.service import Service, npy, until

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


@pytest.fixture
def files(toy: Example) -> list[bytes]:
    return [npy(toy.scores(seed=seed)) for seed in range(6)]


def test_audit_rows_are_deleted_after_their_period_only(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        for days in (0, 366, 399, 401, 4000):
            session.add(Audit(at=now() - days * DAY, actor="ann", action="token.created", subject=f"{days} days"))
    assert sweep_all(harness) == Deleted(0, 0, 0, 2)
    with harness.database.read() as session:
        assert set(session.scalars(select(Audit.subject))) == {"0 days", "366 days", "399 days"}


def test_trigger_lets_retention_delete_with_the_shortest_period(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        session.add(Audit(at=now() - 366 * DAY - timedelta(seconds=1), actor="a", action="token.created", subject="a"))
    shortest = Periods.of(Settings(audit_days=366))
    assert sweep(harness.database, harness.storage, shortest).audit_rows == 1


def test_sweep_deletes_at_most_one_batch_of_each_kind(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    sent = [harness.reserve(10) for _ in range(3)]
    for submission_id in sent:
        harness.move(submission_id, State.UPLOADING, State.EXPIRED)
    age(harness, 100, *sent)
    assert [sweep(harness.database, harness.storage, PERIODS).events for _ in range(4)] == [2, 2, 2, 0]


class _ChangingDatabase:
    """A database in which something changes between the reading and the deletion of a sweep."""

    def __init__(self, database: Database, change: Any) -> None:
        self.read = database.read
        self._database, self._change = database, change

    def write(self) -> Any:
        change, self._change = self._change, None
        if change is not None:
            with self._database.write() as session:
                change(session)
        return self._database.write()


def test_submission_that_becomes_the_newest_during_a_sweep_is_kept(harness: ServiceHarness, files: list[bytes]) -> None:
    old, new = (practise(harness, files[i], days) for i, days in enumerate((300, 200)))
    database: Any = _ChangingDatabase(harness.database, lambda session: harness.withdraw(session, new))
    assert sweep(database, harness.storage, PERIODS).submissions == 0
    assert are_kept(harness, old) == [True]


def test_server_pauses_after_a_sweep_that_found_nothing(
    harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [NOTHING, NOTHING, Deleted(1, 0, 0, 0), Deleted(0, 1, 0, 0)]
    monkeypatch.setattr(retention, "sweep", lambda *_: batches.pop())
    sweeping = Retention(harness.database, harness.storage, PERIODS)
    for left in (3, 2, 1, 1, 1):
        sweeping.sweep_if_due()
        assert len(batches) == left
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)
    sweeping = Retention(harness.database, harness.storage, PERIODS)
    sweeping.sweep_if_due()
    assert batches == []


def test_server_pauses_after_a_sweep_that_failed(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "sweep", lambda *_: 1 / 0)
    sweeping = Retention(harness.database, harness.storage, PERIODS)
    with pytest.raises(ZeroDivisionError):
        sweeping.sweep_if_due()
    sweeping.sweep_if_due()


@pytest.mark.server
def test_server_sweeps_at_its_start_and_the_command_at_once(tmp_path: Path, toy: Example) -> None:
    with Service(tmp_path) as service:
        service.publish(toy.folder)

        def add_old_event() -> None:
            with service.database.write() as session:
                session.add(Event(submission_id=sent, after=State.SCORED, at=now() - 91 * DAY))

        def count_old() -> int:
            with service.database.read() as session:
                return session.scalar(select(func.count()).where(Event.at < now() - 90 * DAY)) or 0

        sent = service.submit_and_score(service.token("ann"), "toy", npy(toy.scores()))["id"]
        add_old_event()
        service.stop()
        service.start()
        until(lambda: count_old() == 0, "a swept database")
        service.stop()
        add_old_event()
        done = run_in_process(service, "prune")
        assert done.stdout == (
            "Deleted: 1 event, 0 submissions, the attributions of 0 evaluations, 0 rows of the audit log, 0 calls of "
            "webhooks, 0 tokens and 0 used identities of CI runs, and the hashed "
            "identities of 0 deleted accounts.\n"
        )
        assert count_old() == 0
