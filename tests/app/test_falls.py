"""Falls on boards and in the API: numbers, ranks, CSV, single targets, and the operator's view of the evaluations.

Legend: k entries, T targets.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import update

from app.accounts import users
from app.api.metrics import _database_families
from app.benchmarks import catalog
from app.counterfactual import queue
from app.db.base import now
from app.db.counterfactuals import Counterfactual
from app.db.models import File
from app.leaderboard.entries import list_entries
from app.leaderboard.falls import add_falls, counterfactual_view, target_falls
from app.leaderboard.ranking import update_ranks
from app.leaderboard.tables import csv_table
from app.leaderboard.views import leaderboard_view
from app.management import retraining_report
from app.pages.content.sorting import LeaderboardQuery
from ldsboard.core.comparison import compare_influences
from ldsboard.counterfactual.plan import CODE_VERSION
from tests.app import factories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.db.accounts import User
    from app.db.models import Submission, Version
    from tests.app.harness import ServiceHarness

T, SIZES = 40, [3, 12]
NUMBERS = {
    "confidence_interval": [1.0, 2.0],
    "std_error": 0.1,
    "std_error_runs": None,
    "loss": 0.25,
    "flipped": 0.5,
    "others": None,
    "control": 0.01,
    "above_control": None,
    "p_value": 0.0,
    "ties": 1,
    "wrong_sign": 2,
    "whole_class": 3,
}


class Board:
    """The toy benchmark in an open transaction, with entries of different owners."""

    def __init__(self, session: Session, version: Version) -> None:
        self.session, self.version = session, version

    def add(
        self, method: str, lds: float, mean: float | None, owner: User | None = None, day: int = 0, **fields: Any
    ) -> Submission:
        """Add an entry of an owner, by default a new one, with falls around a mean unless it is None."""
        owner = owner or users.add_user(self.session, f"owner-{method}")
        submission = factories.add_entry(self.session, self.version, owner, method, lds, day)
        for name, value in fields.items():
            setattr(submission, name, value)
        if mean is not None:
            rng = np.random.default_rng(len(method))
            falls = rng.normal(mean, 1.0, size=(2, len(SIZES), T)).astype("<f8")
            rows = [
                NUMBERS | {"direction": direction, "removed": size, "fall": falls[place, at].mean()}
                for place, direction in enumerate(("proponents", "opponents"))
                for at, size in enumerate(SIZES)
            ]
            numbers = {"targets": list(range(0, 2 * T, 2)), "sizes": SIZES, "headline": 12, "runs": 3}
            numbers |= {"before": [4.0 + target for target in range(T)], "seconds": 41.5, "rows": rows}
            self.session.add(
                Counterfactual(
                    submission_id=submission.id,
                    version_id=self.version.id,
                    code=CODE_VERSION,
                    ended_at=now(),
                    numbers=numbers,
                    falls=falls.tobytes(),
                    headline=falls[0, 1].tobytes(),
                )
            )
        update_ranks(self.session, self.version)
        return submission

    def falls(self, submission: Submission) -> np.ndarray[Any, Any]:
        row = self.session.query(Counterfactual).filter_by(submission_id=submission.id).one()
        return np.frombuffer(row.falls or b"").reshape(2, len(SIZES), T)


@pytest.fixture
def board(harness: ServiceHarness) -> Iterator[Board]:
    with harness.database.write() as session:
        yield Board(session, catalog.find_version(session, "toy"))


@pytest.mark.database
def test_board_shows_falls_with_their_own_ranks(board: Board) -> None:
    best = board.add("best-lds", 0.9, 0.1)
    deepest = board.add("deepest", 0.5, 3.0)
    alike = board.add("alike-x", 0.4, 2.9)
    pending = board.add("pending", 0.3, None)
    view = leaderboard_view(board.session, board.version)
    rows = {row.id: row for row in view.rows}
    assert [row.id for row in view.rows] == [best.id, deepest.id, alike.id, pending.id]  # still by LDS
    assert rows[pending.id].fall is None
    falls = {submission.id: board.falls(submission)[0, 1] for submission in (best, deepest, alike)}
    # `deepest` and `alike-x` draw the same numbers around another mean, so their difference is certain.
    assert {name: row.fall.rank for name, row in rows.items() if row.fall} == {
        best.id: (3, 3),
        deepest.id: (1, 1),
        alike.id: (2, 2),
    }
    shown = rows[deepest.id].fall
    assert shown is not None
    assert shown.fall == falls[deepest.id].mean()
    assert (shown.direction, shown.removed, shown.target_count, shown.runs) == ("proponents", 12, T, 3)
    assert (shown.ties, shown.wrong_sign, shown.whole_class, shown.others) == (1, 2, 3, None)


def test_ranks_count_the_five_newest_entries_of_an_owner(board: Board) -> None:
    owner = users.add_user(board.session, "busy")
    sent = [board.add(f"m{day}", 0.5, 30.0 - 5 * day, owner, day) for day in range(6)]
    rows = {row.id: row for row in leaderboard_view(board.session, board.version).rows}
    assert [rows[submission.id].in_family for submission in sent] == [False, True, True, True, True, True]
    ranks = [fall.rank for submission in sent if (fall := rows[submission.id].fall)]
    assert ranks == [(1, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]


def test_ranks_are_paired_tests_over_targets(board: Board) -> None:
    """Two entries differ exactly if the paired test says so, whose only pair needs no correction."""
    for shift, differ in ((0.02, False), (1.5, True)):
        name = f"shifted-{shift}"
        one, other = board.add(name, 0.5, 1.0), board.add(f"{name}{'x' * 7}", 0.4, 1.0 + shift)
        entries = [each for each in list_entries(board.session, board.version) if each.id in (one.id, other.id)]
        a_T, b_T = board.falls(one)[0, 1], board.falls(other)[0, 1]
        pair = compare_influences(float(a_T.mean() - b_T.mean()), a_T - a_T.mean(), b_T - b_T.mean())
        ranks = {each.fall.rank for each in add_falls(board.session, board.version, entries) if each.fall}
        assert (pair.p_value < 0.05) == differ
        assert ranks == ({(1, 1), (2, 2)} if differ else {(1, 2)})


def test_declared_entries_have_a_fall_but_no_rank(harness: ServiceHarness, open_toy: Any) -> None:
    harness.publish(open_toy.folder)
    with harness.database.write() as session:
        board = Board(session, catalog.find_version(session, "open-toy"))
        honest = board.add("honest", 0.5, 1.0)
        fitted = board.add("fitted", 0.9, 3.0, uses_subsets=True)
        rows = {row.id: row.fall for row in leaderboard_view(session, board.version).rows}
        ranks = {name: fall.rank for name, fall in rows.items() if fall is not None}
    assert ranks == {honest.id: (1, 1), fitted.id: None}


def test_entries_are_sorted_by_fall_and_those_without_come_last(board: Board) -> None:
    pending, small = board.add("pending", 0.9, None), board.add("small", 0.7, 0.1)
    large = board.add("large", 0.5, 3.0)
    entries = add_falls(board.session, board.version, list_entries(board.session, board.version))
    selected = LeaderboardQuery(sort="fall").select(entries)
    assert [entry.id for entry in selected] == [large.id, small.id, pending.id]
    reverse = LeaderboardQuery(sort="fall", order="asc").select(entries)
    assert [entry.id for entry in reverse] == [small.id, large.id, pending.id]


def test_csv_has_the_falls(board: Board) -> None:
    board.add("ours", 0.5, 1.0)
    board.add("pending", 0.4, None)
    view = leaderboard_view(board.session, board.version)
    ours, pending = csv.DictReader(io.StringIO(csv_table(view)))
    fall = view.rows[0].fall
    assert fall is not None
    assert float(ours["fall"]) == fall.fall
    assert [ours[f"fall_{name}"] for name in ("removed", "rank_low", "rank_high", "ci_low", "ci_high")] == [
        "12",
        "1",
        "1",
        "1.0",
        "2.0",
    ]
    assert {pending[name] for name in pending if name.startswith("fall")} == {""}


def test_single_targets(board: Board) -> None:
    submission = board.add("ours", 0.5, 1.0)
    found = target_falls(board.session, board.version, submission.id, 6)
    assert found is not None
    assert (found.before, found.sizes, found.headline, found.runs) == (7.0, SIZES, 12, 3)
    assert found.proponents == board.falls(submission)[0, :, 3].tolist()
    assert found.opponents == board.falls(submission)[1, :, 3].tolist()
    assert target_falls(board.session, board.version, submission.id, 7) is None
    assert target_falls(board.session, board.version, board.add("pending", 0.4, None).id, 6) is None


def test_states_of_an_evaluation(board: Board) -> None:
    session, version = board.session, board.version
    done, open_one = board.add("done", 0.5, 1.0), board.add("open", 0.4, None)
    session.add(File(sha256="0" * 64, size=1, references=1))
    session.flush()
    open_one.file_sha256 = "0" * 64
    assert counterfactual_view(session, version, open_one.id) is None
    claim = queue.claim(session, queue.Waiting(open_one.id, version.id))
    assert claim is not None

    def seen() -> tuple[str, str | None]:
        view = counterfactual_view(session, version, open_one.id)
        assert view is not None
        return view.state, view.reason

    def counts() -> dict[str, int]:
        return {state: number for state, number in retraining_report.counts(session).items() if number}

    assert (seen(), counts()) == (("running", None), {"done": 1, "running": 1})
    queue.fail(session, claim, 1.0)
    assert (seen(), counts()) == (("interrupted", None), {"done": 1, "interrupted": 1})
    session.execute(update(Counterfactual).where(Counterfactual.failures > 0).values(not_before=None))
    session.expire_all()
    claim = queue.claim(session, queue.Waiting(open_one.id, version.id))
    assert claim is not None
    queue.give_up(session, claim, "The recipe cannot train.")
    assert (seen(), counts()) == (("impossible", "The recipe cannot train."), {"done": 1, "impossible": 1})
    (reported,) = retraining_report.without_result(session)
    assert (reported.submission_id, reported.state, reported.failures) == (open_one.id, "impossible", 1)
    assert queue.try_again(session) == 1
    session.expire_all()
    assert (seen(), counts()) == (("interrupted", None), {"done": 1, "interrupted": 1})
    view = counterfactual_view(session, version, done.id)
    assert view is not None
    assert (view.state, view.headline, view.runs, view.seconds, len(view.rows)) == ("done", 12, 3, 41.5, 4)
    assert view.targets == list(range(0, 2 * T, 2))


def test_metrics_count_evaluations(board: Board) -> None:
    board.add("done", 0.5, 1.0)
    families = {family.name: family for family in _database_families(board.session, 1)}
    samples = families["ldsboard_counterfactual_evaluations"].samples
    assert {sample.labels["state"]: sample.value for sample in samples} == {
        "running": 0,
        "interrupted": 0,
        "impossible": 0,
        "done": 1,
    }
