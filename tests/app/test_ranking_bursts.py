"""Bursts of results: a large board is ranked once for all of them, by one process at a time, and never with older ranks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app.benchmarks import catalog
from app.db import backends
from app.db.models import Evaluation, Submission, Visibility
from app.db.sessions import Database
from app.leaderboard import ranking
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import Ranker, compute_ranks, note_change, store_ranks
from app.management import editing
from tests.app import factories
from tests.app.service import npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.ranking import Ranks
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

ENTRIES = 6


@pytest.fixture
def board(harness: ServiceHarness) -> ServiceHarness:
    """A board of a few entries."""
    with harness.database.write() as session:
        factories.add_entries(session, catalog.find_version(session, "toy"), ENTRIES)
    return harness


class Gate:
    """Records the revision of every ranking; the first ranking waits at the end for `opened`, once `entered` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.revisions: list[int] = []
        monkeypatch.setattr(ranking, "compute_ranks", self._compute)

    def _compute(self, session: Session, version: Version) -> Ranks:
        self.revisions.append(version.board_revision)
        found = compute_ranks(session, version)
        if len(self.revisions) == 1:
            self.entered.set()
            assert self.opened.wait(60)
        return found


def revisions(database: Database) -> tuple[int, int]:
    """Return the revision of the board, and the revision that is ranked."""
    with database.read() as session:
        version = catalog.find_version(session, "toy")
        return version.board_revision, version.ranked_revision


def places(database: Database) -> list[Any]:
    """Return what ranking has stored of every evaluation."""
    with database.read() as session:
        return [
            tuple(row) for row in session.execute(text("SELECT id, rank_low, rank_high FROM evaluation ORDER BY id"))
        ]


def places_of_a_new_ranking(database: Database) -> list[Any]:
    """Return what ranking stores of every evaluation if the board is ranked anew."""
    with database.write() as session:
        version = catalog.find_version(session, "toy")
        for evaluation in session.query(Evaluation):
            evaluation.rank_low = evaluation.rank_high = evaluation.in_family = None
        session.flush()
        note_change(session, version)
        store_ranks(session, version, compute_ranks(session, version))
    return places(database)


def change(database: Database) -> int:
    """Hide the first entry or make it public again, without a ranking; return the id of the version."""
    with database.write() as session:
        version = catalog.find_version(session, "toy")
        first = session.query(Submission).order_by(Submission.id).first()
        assert first is not None
        hidden = first.visibility == Visibility.PRIVATE
        editing.edit(session, first, {"visibility": Visibility.PUBLIC if hidden else Visibility.PRIVATE})
        return version.id


@pytest.mark.database
def test_results_of_a_large_board_share_a_ranking(
    board: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "QUICK_ENTRIES", ENTRIES - 1)
    gate = Gate(monkeypatch)
    sent = [board.accept(npy(toy.scores(0.1 * i)), method=f"method-{i}") for i in range(1, 5)]
    assert board.evaluator.evaluate_next()
    assert gate.entered.wait(60)
    for _ in sent[1:]:  # scored and saved, while the first result is ranked
        assert board.evaluator.evaluate_next()
    with board.database.read() as session:
        assert {session.get_one(Submission, name).state for name in sent} == {"scored"}
        listed = {entry.id for entry in list_entries(session, catalog.find_version(session, "toy"))}
        assert listed.isdisjoint(sent)
    gate.opened.set()
    until(lambda: len(set(revisions(board.database))) == 1, "a ranked board")
    assert gate.revisions == [gate.revisions[0], gate.revisions[0] + len(sent) - 1]
    with board.database.read() as session:
        listed = {entry.id for entry in list_entries(session, catalog.find_version(session, "toy"))}
    assert listed >= set(sent)
    stored = places(board.database)
    monkeypatch.undo()
    assert stored == places_of_a_new_ranking(board.database)


@pytest.mark.database
def test_older_ranks_do_not_replace_newer_ranks(board: ServiceHarness) -> None:
    change(board.database)
    with board.database.read() as session:
        older = compute_ranks(session, catalog.find_version(session, "toy"))
    version_id = change(board.database)
    Ranker(board.database).renew([version_id])
    newer = places(board.database)
    assert len(set(revisions(board.database))) == 1
    with board.database.write() as session:
        store_ranks(session, catalog.find_version(session, "toy"), older)
    assert places(board.database) == newer
    assert older.revision < revisions(board.database)[1] == revisions(board.database)[0]


@pytest.mark.database
def test_ranking_that_fails_in_the_background_is_followed_by_others(
    board: ServiceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail(session: Session, version: Version) -> Ranks:
        failed.set()
        raise MemoryError(session, version)

    monkeypatch.setattr(ranking, "compute_ranks", fail)
    version_id = change(board.database)
    ranker = Ranker(board.database)
    ranker.renew_later(version_id)
    assert failed.wait(60)
    monkeypatch.undo()
    ranker.renew_later(version_id)
    until(lambda: len(set(revisions(board.database))) == 1, "a ranked board")
    assert places(board.database) == places_of_a_new_ranking(board.database)


@pytest.fixture
def other(board: ServiceHarness) -> Iterator[Database]:
    """The database of the board, as another process uses it."""
    opened = Database(board.database.engine.url.render_as_string(hide_password=False))
    yield opened
    opened.close()


def is_waiting(database: Database) -> bool:
    """Return whether a process waits until another one has ranked a board."""
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = :key AND NOT granted")
    with database.read() as session:
        return bool(session.scalar(query, {"key": backends.RANKING}))


@pytest.fixture
def backend() -> str:
    """Processes that share a database use PostgreSQL; tests with the mark ``database`` also run on SQLite."""
    return "postgresql"


def test_two_processes_rank_a_board_once(
    board: ServiceHarness, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    version_id = change(board.database)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(Ranker(board.database).renew, [version_id])
        assert gate.entered.wait(60)
        second = threads.submit(Ranker(other).renew, [version_id])
        until(lambda: is_waiting(other), "a second process that waits")
        gate.opened.set()
        first.result()
        second.result()
    assert len(gate.revisions) == 1
    assert len(set(revisions(other))) == 1


def test_process_that_ranks_for_too_long_is_overtaken_and_stores_nothing(
    board: ServiceHarness, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "RANKING_WAIT_SECONDS", 0.05)
    gate = Gate(monkeypatch)
    version_id = change(board.database)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(Ranker(board.database).renew, [version_id])
        assert gate.entered.wait(60)
        change(other)
        Ranker(other).renew([version_id])
        newer = places(other)
        gate.opened.set()
        late.result()
    assert len(gate.revisions) == 2
    assert places(other) == newer
    assert len(set(revisions(other))) == 1
