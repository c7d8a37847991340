"""Ranking outside the write lock: what a board shows between a change and its ranking, and who ranks it when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import select

from app.accounts import users
from app.benchmarks import catalog
from app.db.models import Evaluation, Submission, Visibility
from app.leaderboard import ranking
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import Ranker
from app.management import editing
from app.results.replicate_sets import load_replicates
from app.submissions.visibility import set_visibility
from ldsboard.core.board import rank_board
from tests.app import factories
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.ranking import Ranks
    from app.scoring.evaluator import Evaluator
    from app.scoring.sandbox.part_results import PartResult
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database

ENTRIES = 6


@pytest.fixture
def board(harness: ServiceHarness) -> ServiceHarness:
    """A board of a few entries."""
    with harness.database.write() as session:
        factories.add_entries(session, catalog.find_version(session, "toy"), ENTRIES)
    return harness


def ranks(harness: ServiceHarness) -> dict[str, tuple[int | None, int | None]]:
    """Return the rank interval of every listed entry by submission id."""
    with harness.database.read() as session:
        entries = list_entries(session, catalog.find_version(session, "toy"))
    return {entry.id: (entry.rank_low, entry.rank_high) for entry in entries}


def expected_ranks(harness: ServiceHarness) -> dict[str, tuple[int | None, int | None]]:
    """Return the ranks that the library computes for the listed entries."""
    with harness.database.read() as session:
        version = catalog.find_version(session, "toy")
        entries = list_entries(session, version)
        loaded = load_replicates(session, version, entries)
        arrays = [np.frombuffer(loaded[entry.id][0].parts["ranking"].influence, dtype="<f8") for entry in entries]
    in_family_k = np.ones(len(entries), dtype=np.bool_)  # no owner has more than five entries
    standings = rank_board([entry.lds for entry in entries], np.array(arrays), in_family_k, 0)
    return {entry.id: standing[:2] for entry, standing in zip(entries, standings, strict=True)}


def hide_best(harness: ServiceHarness) -> str:
    """Make the first entry private without ranking the board, and return its id."""
    with harness.database.write() as session:
        best = list_entries(session, catalog.find_version(session, "toy"))[0]
        editing.edit(session, session.get_one(Submission, best.id), {"visibility": Visibility.PRIVATE})
    return best.id


def withdraw_best(harness: ServiceHarness) -> str:
    """Withdraw the first entry without ranking the board, and return its id."""
    with harness.database.write() as session:
        best = list_entries(session, catalog.find_version(session, "toy"))[0]
        harness.withdraw(session, best.id)
    return best.id


@pytest.mark.parametrize("remove_best", [hide_best, withdraw_best])
def test_removed_entry_disappears_at_once_and_the_others_keep_their_ranks_until_ranked(
    board: ServiceHarness, remove_best: Callable[[ServiceHarness], str]
) -> None:
    before = ranks(board)
    hidden = remove_best(board)
    assert ranks(board) == {name: interval for name, interval in before.items() if name != hidden}
    Ranker(board.database).renew_all()
    assert ranks(board) == expected_ranks(board) != {name: before[name] for name in ranks(board)}


def test_new_entry_is_listed_once_the_board_is_ranked_with_it(board: ServiceHarness) -> None:
    hidden = hide_best(board)
    Ranker(board.database).renew_all()
    with board.database.write() as session:
        editing.edit(session, session.get_one(Submission, hidden), {"visibility": Visibility.PUBLIC})
    assert hidden not in ranks(board)
    Ranker(board.database).renew_all()
    assert len(ranks(board)) == ENTRIES
    assert ranks(board) == expected_ranks(board)


def test_simultaneous_changes_share_a_computation(board: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    computed, first_began, all_changed = [], threading.Event(), threading.Event()
    compute = ranking.compute_ranks

    def counting(session: Session, version: Version) -> Ranks:
        computed.append(version.board_revision)
        found = compute(session, version)
        first_began.set()
        assert all_changed.wait(60)
        return found

    monkeypatch.setattr(ranking, "compute_ranks", counting)
    ranker = Ranker(board.database)

    def change_and_rank() -> None:
        with board.database.write() as session:
            version = catalog.find_version(session, "toy")
            ranking.note_change(session, version)
        ranker.renew([version.id])

    with ThreadPoolExecutor(8) as threads:
        tasks = [threads.submit(change_and_rank)]
        assert first_began.wait(60)
        tasks += [threads.submit(change_and_rank) for _ in range(7)]
        while True:
            with board.database.read() as session:
                if catalog.find_version(session, "toy").board_revision == computed[0] + 7:
                    break
        all_changed.set()
        for task in tasks:
            task.result()
    assert computed == [computed[0], computed[0] + 7]


def test_unchanged_entries_are_not_compared_again(board: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ranks(board)
    monkeypatch.setattr(ranking, "rank_board", lambda *_: pytest.fail("expected no comparison"))
    with board.database.write() as session:
        ranking.note_change(session, catalog.find_version(session, "toy"))
    Ranker(board.database).renew_all()
    assert ranks(board) == before


def test_result_and_ranks_are_saved_together(
    board: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = board.accept(npy(toy.scores(0.1)))
    monkeypatch.setattr(board.evaluator.ranker, "renew", lambda _: None)  # only the transaction of the result ranks
    assert board.evaluator.evaluate_next()
    assert submission_id in ranks(board)
    assert ranks(board) == expected_ranks(board)


def test_board_that_changes_while_a_result_is_ranked_is_ranked_again(
    board: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank_with = type(board.evaluator)._rank_with

    def rank_then_hide(evaluator: Evaluator, evaluation: Evaluation, scored: dict[str, PartResult]) -> Ranks:
        found = rank_with(evaluator, evaluation, scored)
        hide_best(board)
        return found

    monkeypatch.setattr(type(board.evaluator), "_rank_with", rank_then_hide)
    submission_id = board.accept(npy(toy.scores(0.1)))
    assert board.evaluator.evaluate_next()
    assert submission_id in ranks(board)
    assert len(ranks(board)) == ENTRIES
    assert ranks(board) == expected_ranks(board)


def test_private_result_does_not_join_the_ranking(board: ServiceHarness, toy: Example) -> None:
    before = ranks(board)
    board.accept(npy(toy.scores(0.1)), visibility=Visibility.PRIVATE)
    assert board.evaluator.evaluate_next()
    assert ranks(board) == before


def test_older_result_does_not_replace_a_newer_entry(board: ServiceHarness, toy: Example) -> None:
    older, newer = (board.accept(npy(toy.scores(noise))) for noise in (0.1, 0.2))
    with board.database.write() as session:  # the newer submission is evaluated first
        ids = session.scalars(select(Evaluation.id).where(Evaluation.submission_id == older)).one()
        session.get_one(Evaluation, ids).not_before = session.get_one(Submission, newer).created_at.replace(year=2999)
    assert board.evaluator.evaluate_next()
    with board.database.write() as session:
        session.get_one(Evaluation, ids).not_before = None
    assert board.evaluator.evaluate_next()
    assert newer in ranks(board)
    assert older not in ranks(board)
    assert ranks(board) == expected_ranks(board)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("order", [(3, 5), (5, 3)])
def test_only_the_pinned_or_newest_of_two_ranked_submissions_is_listed(
    harness: ServiceHarness, order: tuple[int, int], *, pinned: bool
) -> None:
    # Between a change of the visibility and the next ranking, both submissions of a method have a rank.
    with harness.database.write() as session:
        version, owner = catalog.find_version(session, "toy"), users.add_user(session, "owner")
        sent = {day: factories.add_entry(session, version, owner, "ours", 0.1 * day, day) for day in order}
        set_visibility(session, sent[3], Visibility.ANONYMOUS)
        ranking.update_ranks(session, version)
        assert len(list_entries(session, version)) == 2
        sent[3].pinned = pinned
        set_visibility(session, sent[3], Visibility.PUBLIC)
        assert [entry.id for entry in list_entries(session, version)] == [sent[3 if pinned else 5].id]
