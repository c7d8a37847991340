"""Notifications between processes on PostgreSQL: the ids that changed, once, and everything after a lost connection."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from app.db.changes import note_change
from app.db.notifications import MAX_IDS
from app.db.sessions import Database
from tests.app.event_loop import run_in_loop
from tests.app.service import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgresql import Cluster

pytestmark = pytest.mark.database


class Heard:
    """A process that listens, and the number of times that its listeners were called."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.calls = 0
        self.database.changes.listen(self._count)
        self.database.listen()
        until(lambda: self.calls == 1, "a connection that listens")  # it announces what may have been missed

    def _count(self) -> None:
        self.calls += 1


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.create()


@pytest.fixture
def other(url: str) -> Iterator[Database]:
    with closing(Database(url)) as opened:
        yield opened


@pytest.fixture
def heard(url: str) -> Iterator[Heard]:
    process = Heard(url)
    with closing(process.database):
        yield process


def change(database: Database, *ids: str) -> None:
    with database.write() as session:
        for submission_id in ids:
            note_change(session, submission_id)


@pytest.mark.parametrize("place", [0, 1, MAX_IDS, 2 * MAX_IDS])
def test_waiting_request_wakes_when_another_process_changes_its_submission(
    heard: Heard, other: Database, place: int
) -> None:
    ids = [f"{number:016x}" for number in range(2 * MAX_IDS + 1)]

    async def wait() -> None:
        with heard.database.changes.watch(ids[place]) as changed:
            await asyncio.to_thread(change, other, *ids)
            await asyncio.wait_for(changed.wait(), PATIENCE_SECONDS)

    run_in_loop(wait())


def test_rolled_back_change_is_not_announced(heard: Heard, other: Database) -> None:
    def fail() -> None:
        with other.write() as session:
            note_change(session, "a")
            session.connection()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    change(other, "b")
    until(lambda: heard.calls > 1, "a notification")
    assert heard.calls == 2


def test_own_change_is_announced_once(heard: Heard, other: Database) -> None:
    async def wait() -> None:
        with heard.database.changes.watch("b") as changed:
            await asyncio.to_thread(change, heard.database, "a")
            await asyncio.to_thread(change, other, "b")  # its notification comes after that of the own change
            await asyncio.wait_for(changed.wait(), PATIENCE_SECONDS)

    run_in_loop(wait())
    assert heard.calls == 3


def test_lost_connection_is_opened_again_and_everything_announced(heard: Heard, other: Database) -> None:
    listening = "FROM pg_stat_activity WHERE query = 'LISTEN ldsboard_changes' AND datname = current_database()"
    with other.read() as session:
        ended = session.connection().exec_driver_sql(f"SELECT pg_terminate_backend(pid) {listening}").all()
    assert len(ended) == 1
    until(lambda: heard.calls == 2, "a new connection")
    change(other, "a")
    until(lambda: heard.calls == 3, "a notification on the new connection")


def test_transaction_without_changes_sends_nothing(heard: Heard, other: Database) -> None:
    change(other)
    change(other, "a")
    until(lambda: heard.calls > 1, "a notification")
    assert heard.calls == 2
