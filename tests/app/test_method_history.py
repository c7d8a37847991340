"""The history of a method: rows, order, pages, baseline, marks and visibility, without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import update

from app.accounts import users
from app.accounts.users import Account
from app.benchmarks import catalog
from app.db.accounts import Role, User
from app.db.models import Benchmark, Evaluation, Kind, State, Submission, Version, Visibility
from app.leaderboard.ranking import update_ranks
from app.results.method_history import Wanted, branches, method_history
from app.submissions import provenance
from ldsboard.core.comparison import compare_influences
from ldsboard.problems import ProblemError
from tests.app.commits import add_commit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.results.schemas import HistoryView
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database

MAIN, REQUEST = {"branch": "main"}, {"branch": "feature", "number": 7}
SUSPENSION = {"reason": "A copy.", "contact": "ops@example.org", "at": "2026-01-01T00:00:00+00:00"}


class Board:
    """The toy benchmark in an open transaction, and a viewer of each role."""

    def __init__(self, session: Session, version: Version) -> None:
        self.session, self.version = session, version
        people = {name: users.add_user(session, name) for name in ("ada", "bob", "root")}
        self.owner, self.other = (users.read_only_account(people[name]) for name in ("ada", "bob"))
        self.admin = Account(people["root"].id, "root", Role.ADMIN, None, frozenset())

    def add(self, lds: float, hour: float, **fields: Any) -> str:
        return add_commit(self.session, self.version, lds, hour=hour, **fields)

    def history(
        self, viewer: Account | None = None, limit: int = 100, before: str | None = None, **wanted: Any
    ) -> HistoryView:
        chosen = Wanted("ada", "trak")._replace(**wanted)
        return method_history(self.session, self.version, viewer, chosen, limit=limit, before=before)

    def ids(self, viewer: Account | None, **wanted: Any) -> list[str]:
        return [row.id for row in self.history(viewer, **wanted).rows]

    def rank(self) -> None:
        update_ranks(self.session, self.version)


@pytest.fixture
def board(harness: ServiceHarness) -> Iterator[Board]:
    with harness.database.write() as session:
        yield Board(session, catalog.find_version(session, "toy"))


def psi(board: Board, submission_id: str, part: str) -> np.ndarray[Any, Any]:
    evaluations = board.session.get_one(Submission, submission_id).evaluations
    return np.frombuffer(evaluations[0].parts[part].influence, "<f8")


def test_difference_on_public_subsets_is_the_exact_paired_difference(board: Board) -> None:
    old, new = board.add(0.41234567, 0, seed=1), board.add(0.42345678, 1, seed=2)
    view = board.history(board.owner)
    newest, oldest = view.rows
    expected = compare_influences(newest.lds - oldest.lds, psi(board, new, "public"), psi(board, old, "public"))
    assert (view.part, view.baseline, view.baseline_listed, view.baseline_lds) == ("public", old, False, 0.41234567)
    assert (newest.id, newest.lds) == (new, 0.42345678)
    assert newest.difference is not None
    assert newest.difference.difference == expected.difference
    assert newest.difference.std_error == expected.std_error
    assert newest.difference.p_value == expected.p_value
    low, high = newest.difference.ci
    assert low < expected.difference < high
    assert (oldest.difference, oldest.marked) == (None, False)


def test_hidden_numbers_are_rounded_before_they_are_compared(board: Board) -> None:
    older = board.add(0.31234567, 0, kind=Kind.RANKED, seed=1, spread=0.1)
    newer = board.add(0.32345678, 1, kind=Kind.RANKED, seed=2, spread=0.1)
    view = board.history(kind=Kind.RANKED)
    assert (view.part, view.baseline, view.baseline_lds) == ("ranking", older, 0.4123)
    row = view.rows[0]
    assert (row.id, row.lds, row.std_error) == (newer, 0.4235, round(row.std_error, 4))
    assert row.difference is not None
    expected = compare_influences(0.0112, psi(board, newer, "ranking"), psi(board, older, "ranking"))
    assert row.difference.difference == 0.0112
    assert row.difference.std_error == round(expected.std_error, 4)
    assert row.difference.p_value == float(f"{expected.p_value:.2g}")


def test_every_commit_of_a_file_has_a_row_at_the_time_when_it_sent_the_file(board: Board) -> None:
    origins = tuple({"commit": digit * 40} for digit in "135")
    first = board.add(0.4, 0, origins=origins)  # at hours 0, 1 and 2: the third commit reverts the second file
    second = board.add(0.5, 1.5, origins=({"commit": "4" * 40},))
    unknown = board.add(0.3, 3)
    rows = board.history(board.owner).rows
    assert [(row.id, (row.provenance or {}).get("commit", "")[:1]) for row in rows] == [
        (unknown, ""), (first, "5"), (second, "4"), (first, "3"), (first, "1"),
    ]  # fmt: skip
    assert [row.provenance for row in rows][:2] == [None, {"commit": "5" * 40, "verified": False}]
    assert [row.difference is None for row in rows] == [False, True, False, True, True], (
        "the oldest file is the baseline"
    )


def test_rows_can_be_limited_to_a_kind_and_a_branch(board: Board) -> None:
    request = board.add(0.4, 0, origins=(REQUEST,))
    both = board.add(0.5, 1, origins=(MAIN, REQUEST))
    ranked = board.add(0.6, 5, kind=Kind.RANKED, origins=(MAIN,))
    assert board.ids(board.owner, branch="main") == [ranked, both]
    assert [row.provenance for row in board.history(board.owner, branch="main").rows] == [
        MAIN | {"verified": False}
    ] * 2
    assert board.ids(board.owner, branch="feature") == [both, request]
    assert board.ids(board.owner, branch="other") == []
    assert board.ids(board.owner, kind=Kind.PRACTICE, branch="main") == [both]
    assert board.ids(board.owner, kind=Kind.RANKED) == [ranked]
    assert branches(board.session, board.version, board.owner, Wanted("ada", "trak")) == ["feature", "main"]
    assert branches(board.session, board.version, None, Wanted("ada", "trak")) == ["main"]


def test_names_are_sorted_by_code_points(board: Board) -> None:
    names = ["a-b", "ab", "a_b", "B", "b", "Z", "z", "a b", "Ä", "é", "10", "9"]
    for hour, name in enumerate(names):
        board.add(0.1, hour, origins=({"branch": name},))
    assert branches(board.session, board.version, board.owner, Wanted("ada", "trak")) == sorted(names)
    for name in names:
        version = Version(version=1, manifest={}, scorer_version=1)
        board.session.add(Benchmark(name=name, current_version=1, versions=[version]))
    board.session.flush()
    found = [version.benchmark.name for version in catalog.current_versions(board.session)]
    assert found == sorted([*names, "toy"])
    with pytest.raises(ProblemError) as unknown:
        catalog.find_version(board.session, "missing")
    assert ", ".join(found) in str(unknown.value.problem.expected)


def test_pages_contain_every_row_once(board: Board) -> None:
    for number in range(3):
        board.add(0.4, 1, origins=({"commit": f"{number:040}"},))  # all at the same time
    for number in range(4):
        board.add(0.4, 2 + number / 10, origins=(MAIN, REQUEST))
    whole = board.history(board.owner)
    assert (len(whole.rows), whole.next) == (11, None)
    pages, before = [], None
    for _ in range(11):
        page = board.history(board.owner, limit=1, before=before)
        pages += page.rows
        assert page.baseline == whole.baseline == whole.rows[-1].id
        before = page.next
    assert before is None
    assert pages == whole.rows
    assert board.history(board.owner, limit=10).next is not None
    assert board.history(board.owner, limit=11).next is None


@pytest.mark.parametrize("before", ["", "x", "0" * 16, f"1-{'0' * 15}", f"{'9' * 17}-{'0' * 16}", f"1-{'0' * 16}\n"])
def test_place_that_no_page_has_given_is_rejected(board: Board, before: str) -> None:
    with pytest.raises(ProblemError) as caught:
        board.history(before=before)
    assert caught.value.problem.code == "request.invalid"


def test_latest_possible_place_finds_the_newest_row(board: Board) -> None:
    sent = board.add(0.4, 0, kind=Kind.RANKED)
    assert [row.id for row in board.history(before=f"{'9' * 16}-{'f' * 16}").rows] == [sent]
    assert board.history(before=f"0-{'f' * 16}").rows == []


def test_visitor_sees_open_ranked_submissions_and_the_owner_all_named_ones(board: Board) -> None:
    kinds, visibilities = (Kind.RANKED, Kind.PRACTICE), (Visibility.PUBLIC, Visibility.PRIVATE)
    named = {
        (kind, visibility): board.add(0.4, 1 + place, kind=kind, visibility=visibility, origins=(MAIN,))
        for place, (kind, visibility) in enumerate((k, v) for k in kinds for v in visibilities)
    }
    anonymous = [board.add(0.4, 0, kind=kind, visibility=Visibility.ANONYMOUS, origins=(MAIN,)) for kind in kinds]
    suspended = board.add(0.4, 7, kind=Kind.RANKED, suspension=SUSPENSION)
    board.rank()
    shown = named[Kind.RANKED, Visibility.PUBLIC]
    for viewer in (None, board.other):
        assert board.ids(viewer) == board.ids(viewer, kind=Kind.RANKED) == [shown]
        assert board.ids(viewer, kind=Kind.PRACTICE) == []
    for viewer in (board.owner, board.admin):
        assert set(board.ids(viewer)) == {*named.values(), suspended}
    aliases = [Wanted("anonymous-1", "withheld"), Wanted("anonymous-1", "trak")]
    for viewer in (None, board.other, board.owner, board.admin):
        for wanted in aliases:
            assert method_history(board.session, board.version, viewer, wanted).rows == []
        assert not {*anonymous} & {*board.ids(viewer)}
        assert board.history(viewer).baseline == shown


def test_token_for_one_method_shows_the_private_submissions_of_this_method_only(board: Board) -> None:
    own, other = (board.add(0.4, 0, method=method) for method in ("trak", "other"))
    restricted = replace(board.owner, method="trak")
    assert board.ids(restricted) == [own]
    assert (board.ids(board.owner, method="other"), board.ids(restricted, method="other")) == ([other], [])


def test_private_history_looks_like_no_history(board: Board) -> None:
    for visibility in (Visibility.PRIVATE, Visibility.ANONYMOUS):
        board.add(0.4, 0, kind=Kind.RANKED, visibility=visibility)
    board.add(0.4, 0, kind=Kind.PRACTICE)
    board.rank()
    assert board.history(board.other) == board.history(None)
    assert board.history(None).model_dump(exclude={"owner"}) == board.history(None, owner="nobody").model_dump(
        exclude={"owner"}
    )
    assert (board.history(None).rows, board.history(None).baseline) == ([], None)


def test_listed_entry_is_the_baseline_of_every_selection(board: Board) -> None:
    practice = board.add(0.3, 0)
    first, second = (board.add(lds, 1, kind=Kind.RANKED) for lds in (0.4, 0.5))
    board.session.get_one(Submission, second).created_at = board.session.get_one(Submission, first).created_at
    assert board.history(board.owner).baseline == practice, "nothing is listed before the board is ranked"
    pinned = board.session.get_one(Submission, first)
    pinned.pinned = True
    board.session.flush()
    board.rank()
    for wanted in ({}, {"kind": Kind.RANKED}, {"kind": Kind.PRACTICE}, {"branch": "none"}):
        view = board.history(board.owner, **wanted)
        assert (view.baseline, view.baseline_listed) == (first, True), wanted
    assert board.history(board.owner).baseline_lds == 0.4
    assert board.history(None, kind=Kind.RANKED).baseline_lds == 0.5, "on the ranking subsets"


@pytest.mark.parametrize(
    ("difference", "spread", "marked"),
    [(0.0051, 1e-4, True), (-0.0051, 1e-4, True), (0.0049, 1e-4, False), (0.02, 0.5, False), (0.0, 1e-4, False)],
)
def test_row_is_marked_if_its_difference_is_significant_and_large(
    board: Board, difference: float, spread: float, marked: bool
) -> None:
    board.add(0.4, 0, spread=spread, seed=1)
    board.add(0.4 + difference, 1, spread=spread, seed=2)
    newest = board.history(board.owner).rows[0]
    assert newest.difference is not None
    assert newest.marked is marked
    assert (newest.difference.p_value < 0.001) is (spread < 0.1 and difference != 0)


def test_only_scored_results_of_the_board_are_shown(board: Board) -> None:
    shown = board.add(0.4, 0, kind=Kind.RANKED)
    withdrawn, other_scorer = board.add(0.4, 1, kind=Kind.RANKED), board.add(0.4, 2, kind=Kind.RANKED)
    board.add(0.4, 3, kind=Kind.RANKED, method="other")
    board.add(0.4, 4, kind=Kind.RANKED, owner="bob")
    board.session.get_one(Submission, withdrawn).state = State.WITHDRAWN
    board.session.execute(update(Evaluation).where(Evaluation.submission_id == other_scorer).values(scorer_version=99))
    board.rank()
    assert board.ids(board.owner) == board.ids(None) == [shown]


def test_repeated_provenance_is_stored_once_and_a_verified_one_separately(board: Board) -> None:
    sent = board.add(0.4, 0)
    origin = {"repository": "ada/x", "commit": "a" * 40, "branch": "main", "number": 3, "provider": "github"}
    for verified in (False, False, True, True):
        provenance.add_provenance(board.session, sent, origin, verified=verified)
    rows = board.history(board.owner).rows
    assert [row.provenance for row in rows] == [origin | {"verified": verified} for verified in (True, False)]
    assert provenance.newest_provenance(board.session, [sent]) == {sent: origin | {"verified": True}}
    copy = board.add(0.4, 5)
    provenance.copy_provenance(board.session, sent, copy)
    provenance.copy_provenance(board.session, sent, copy)
    assert [row.provenance for row in board.history(board.owner).rows[:2]] == [row.provenance for row in rows]


def test_history_of_a_deleted_account_stays_under_its_placeholder(board: Board) -> None:
    sent = board.add(0.4, 0, kind=Kind.RANKED)
    board.session.execute(update(User).where(User.name == "ada").values(name="deleted-1"))
    assert board.ids(None) == []
    assert board.ids(None, owner="deleted-1") == [sent]
