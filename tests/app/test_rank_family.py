"""Ranks count at most five entries of each owner, whatever the results, and do not reveal the owners of anonymous entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from app.accounts import users
from app.benchmarks import catalog
from app.db.models import State, Visibility
from app.leaderboard import ranking
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import update_ranks
from app.submissions import visibility
from app.submissions.lifecycle import transition
from tests.app import factories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.db.accounts import User
    from app.db.models import Submission, Version
    from app.leaderboard.entries import Entry
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database


class Board(NamedTuple):
    """The empty board of a version, in an open transaction."""

    session: Session
    version: Version

    def user(self, name: str) -> User:
        return users.add_user(self.session, name)

    def add(self, owner: User, lds: float, day: int, *, anonymous: bool = False) -> Submission:
        """Add an entry, whose method is named after the day."""
        submission = factories.add_entry(self.session, self.version, owner, f"method-{day}", lds, day)
        if anonymous:
            visibility.set_visibility(self.session, submission, Visibility.ANONYMOUS)
        return submission

    def rank(self) -> dict[str, Entry]:
        """Rank the board, and return its entries by submission id."""
        update_ranks(self.session, self.version)
        return {entry.id: entry for entry in list_entries(self.session, self.version)}


Standing = tuple[int | None, int | None, bool | None, bool | None]


def standings(entries: dict[str, Entry]) -> dict[str, Standing]:
    """Return what ranking stores of each entry."""
    return {
        name: (entry.rank_low, entry.rank_high, entry.in_family, entry.separable_from_first)
        for name, entry in entries.items()
    }


@pytest.fixture
def board(harness: ServiceHarness) -> Iterator[Board]:
    with harness.database.write() as session:
        yield Board(session, catalog.find_version(session, "toy"))


def family(entries: dict[str, Entry]) -> set[str]:
    return {name for name, entry in entries.items() if entry.in_family}


def test_weak_entries_of_one_owner_change_no_other_rank(board: Board) -> None:
    for day in range(8):
        board.add(board.user(f"lab-{day}"), 0.5 - 0.02 * day, day)
    crowd = board.user("crowd")
    for day in range(110, 115):
        board.add(crowd, 0.1, day)
    before = standings(board.rank())
    older = [board.add(crowd, 0.1, day).id for day in range(50, 90)]
    after = board.rank()
    assert {name: place for name, place in standings(after).items() if name in before} == before
    assert len(after) == len(before) + 40
    assert family(after) == before.keys()
    for name in older:  # an older entry has the rank that it would have if it alone were counted too
        entry = after[name]
        assert (entry.rank_low, entry.rank_high, entry.separable_from_first) == (9, 14, True)


def test_the_newest_entries_count_whatever_their_results(board: Board) -> None:
    owner = board.user("owner")
    best = board.add(owner, 0.6, 0)
    newer = [board.add(owner, 0.1, day) for day in range(1, 6)]
    rival = board.add(board.user("rival"), 0.3, 9)
    entries = board.rank()
    assert family(entries) == {*(submission.id for submission in newer), rival.id}
    # The best entry is listed first, and every other entry is compared with it.
    assert next(iter(entries)) == best.id
    assert {name for name, entry in entries.items() if entry.separable_from_first is None} == {best.id}
    assert standings(entries)[best.id] == (1, 1, False, None)
    assert standings(entries)[rival.id] == (1, 1, True, True)


def test_pinned_entry_keeps_the_time_of_its_submission(board: Board) -> None:
    owner = board.user("owner")
    old = board.add(owner, 0.5, 0)
    old.pinned = True
    for day in range(1, 6):
        board.add(owner, 0.1, day)
    entries = board.rank()
    assert len(entries) == 6
    assert old.id not in family(entries)


def test_public_entries_change_nothing_of_the_anonymous_entries_of_their_owner(board: Board) -> None:
    # Five public entries of another user stand for the entries that a stranger would have.
    owner, stranger, rival = (board.user(name) for name in ("owner", "stranger", "rival"))
    board.add(rival, 0.4, 0)
    hidden = [board.add(owner, 0.3 + 0.05 * day, day, anonymous=True).id for day in range(1, 7)]
    by_sender = []
    for sender in (stranger, owner):
        added = [board.add(sender, 0.2, day) for day in range(20, 25)]
        entries = board.rank()
        by_sender.append([standings(entries)[name] for name in hidden])
        assert family(entries) >= {submission.id for submission in added}
        for submission in added:
            assert transition(board.session, submission.id, State.SCORED, State.WITHDRAWN)
    assert by_sender[0] == by_sender[1]
    assert [place[2] for place in by_sender[0]] == [False, True, True, True, True, True]


def test_entry_that_changes_its_visibility_makes_room_for_an_older_one(board: Board) -> None:
    owner = board.user("owner")
    ids = [board.add(owner, 0.1 * day, day) for day in range(6)]
    assert ids[0].id not in family(board.rank())
    visibility.set_visibility(board.session, ids[3], Visibility.ANONYMOUS)
    assert family(board.rank()) == {submission.id for submission in ids}


@pytest.mark.parametrize("first_in_family", [True, False])
def test_board_without_its_first_entry_is_compared_with_the_next(board: Board, *, first_in_family: bool) -> None:
    owner = board.user("owner")
    first = board.add(owner, 0.6, 9 if first_in_family else 0)
    others = [board.add(owner, 0.1 * day, day) for day in range(1, 6)]
    entries = board.rank()
    assert (first.id in family(entries)) == first_in_family
    assert transition(board.session, first.id, State.SCORED, State.WITHDRAWN)
    stale = list_entries(board.session, board.version)
    assert [entry.separable_from_first for entry in stale] == [None] * 5
    entries = board.rank()
    assert [entry.separable_from_first for entry in entries.values()] == [None, True, True, True, True]
    assert family(entries) == {submission.id for submission in others}


def test_removed_entry_outside_the_family_causes_no_comparison(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = board.user("owner")
    submissions = [board.add(owner, 0.1 + 0.1 * day, day) for day in range(6)]
    before = standings(board.rank())
    monkeypatch.setattr(ranking, "rank_board", lambda *_: pytest.fail("expected no comparison"))
    assert transition(board.session, submissions[0].id, State.SCORED, State.WITHDRAWN)
    assert standings(board.rank()) == {name: place for name, place in before.items() if name != submissions[0].id}


def test_board_without_a_later_entry_is_ranked_again(board: Board) -> None:
    ids = [board.add(board.user(f"user-{day}"), 0.9 - 0.1 * day, day).id for day in range(4)]
    assert [standings(board.rank())[name][:2] for name in ids] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert transition(board.session, ids[1], State.SCORED, State.WITHDRAWN)
    assert [place[:2] for place in standings(board.rank()).values()] == [(1, 1), (2, 2), (3, 3)]


def test_family_that_changes_without_a_new_size_is_ranked_again(board: Board) -> None:
    owner = board.user("owner")
    public = [board.add(owner, 0.01 * day, day) for day in range(6)]
    anonymous = [board.add(owner, 0.5, day, anonymous=True).id for day in range(10, 15)]
    assert family(board.rank()) == {*anonymous, *(submission.id for submission in public[1:])}
    # The five anonymous entries are newer, so that the entry leaves the family, and an older public entry joins it.
    visibility.set_visibility(board.session, public[3], Visibility.ANONYMOUS)
    assert family(board.rank()) == {
        *anonymous,
        *(submission.id for submission in public if submission is not public[3]),
    }
