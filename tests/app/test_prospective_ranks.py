"""The rank that a result would have on the board: equal to the rank after publication, and independent of the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from app.accounts import users
from app.benchmarks import catalog
from app.db.models import Evaluation, Submission, Visibility
from app.leaderboard import prospective_ranks
from app.leaderboard.prospective_ranks import ProspectiveRanks, prospective_rank
from app.leaderboard.ranking import update_ranks
from tests.app import factories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database


@pytest.fixture
def session(harness: ServiceHarness) -> Iterator[Session]:
    with harness.database.write() as opened:
        yield opened


@pytest.fixture
def open_board(harness: ServiceHarness, open_toy: Example) -> None:
    harness.publish(open_toy.folder)


@pytest.fixture
def version(session: Session) -> Version:
    """A version with the entries of eight owners, .05 apart."""
    found = catalog.find_version(session, "toy")
    for day in range(8):
        add(session, found, f"lab-{day}", 0.2 + 0.05 * day, day)
    update_ranks(session, found)
    return found


def add(
    session: Session, version: Version, owner: str, lds: float, day: int, visibility: Visibility = Visibility.PUBLIC
) -> Evaluation:
    submission = factories.add_entry(session, version, users.add_user(session, owner), f"method-{day}", lds, day)
    submission.visibility = visibility
    session.flush()
    return session.scalars(select(Evaluation).where(Evaluation.submission_id == submission.id)).one()


@pytest.mark.parametrize("lds", [0.05, 0.26, 0.375, 0.5, 0.9])
def test_prospective_rank_is_the_rank_after_publication(session: Session, version: Version, lds: float) -> None:
    evaluation = add(session, version, "newcomer", lds, 20, Visibility.PRIVATE)
    update_ranks(session, version)
    assert not evaluation.in_family
    expected = prospective_rank(session, [evaluation])
    session.execute(update(Submission).where(Submission.id == evaluation.submission_id).values(visibility="public"))
    update_ranks(session, version)
    session.refresh(evaluation)
    assert (evaluation.rank_low, evaluation.rank_high) == expected


def test_prospective_rank_does_not_depend_on_the_owner(session: Session, version: Version) -> None:
    for day in range(30, 36):  # with the private submission, seven entries of one owner
        add(session, version, "crowd", 0.4, day)
    update_ranks(session, version)
    by_owner = []
    for owner in ("stranger", "crowd"):
        evaluation = add(session, version, owner, 0.375, 30, Visibility.PRIVATE)
        by_owner.append(prospective_rank(session, [evaluation]))
    assert by_owner[0] == by_owner[1] != (1, 1)


def add_rerun(session: Session, version: Version, root: Evaluation, lds: float, day: int) -> Evaluation:
    """Add a replicate of a submission, as visible as the submission."""
    sent = root.submission
    submission = factories.add_entry(session, version, sent.user, sent.method, lds, day)
    submission.visibility, submission.replicate_of = sent.visibility, sent.id
    session.flush()
    return session.scalars(select(Evaluation).where(Evaluation.submission_id == submission.id)).one()


def test_prospective_rank_is_that_of_the_mean_over_replicates(session: Session, version: Version) -> None:
    # An entry of the board whose reruns differ: its rank, and its tests against other entries, are those of the mean.
    listed = session.scalars(select(Evaluation).where(Evaluation.rank_low == 1).order_by(Evaluation.rank_high)).all()[0]
    for day in (40, 41, 42):
        add_rerun(session, version, listed, 0.3 + 0.1 * (day - 40), day)
    update_ranks(session, version)
    first = add(session, version, "newcomer", 0.75, 50, Visibility.PRIVATE)
    replicates = [first, *(add_rerun(session, version, first, lds, 51) for lds in (0.7, 0.73))]
    alone, together = prospective_rank(session, [first]), prospective_rank(session, replicates)
    ids = [evaluation.submission_id for evaluation in replicates]
    session.execute(update(Submission).where(Submission.id.in_(ids)).values(visibility="public"))
    update_ranks(session, version)
    for evaluation in replicates:
        session.refresh(evaluation)
    places = [(evaluation.rank_low, evaluation.rank_high) for evaluation in replicates]
    assert together in places
    assert places.count((None, None)) == 2
    assert alone != together


@pytest.mark.usefixtures("open_board")
def test_declared_result_has_no_prospective_rank(session: Session) -> None:
    for name, rank in (("toy", (1, 1)), ("open-toy", None)):  # nobody can fit scores to hidden subsets
        evaluation = add(session, catalog.find_version(session, name), f"fits-{name}", 0.3, 1, Visibility.PRIVATE)
        evaluation.submission.uses_subsets = True
        assert prospective_rank(session, [evaluation]) == rank


@pytest.mark.usefixtures("open_board")
def test_declared_entries_change_no_prospective_rank(session: Session) -> None:
    version = catalog.find_version(session, "open-toy")
    for day in range(3):
        add(session, version, f"lab-{day}", 0.2 + 0.2 * day, day)
    evaluation = add(session, version, "newcomer", 0.5, 20, Visibility.PRIVATE)
    update_ranks(session, version)
    before = prospective_rank(session, [evaluation])
    add(session, version, "fits", 0.99, 21).submission.uses_subsets = True
    update_ranks(session, version)
    assert before is not None
    assert prospective_rank(session, [evaluation]) == before


def test_first_result_of_a_board_would_have_rank_one(session: Session) -> None:
    empty = catalog.find_version(session, "toy")
    assert prospective_rank(session, [add(session, empty, "first", 0.3, 1, Visibility.PRIVATE)]) == (1, 1)


def test_result_of_another_scorer_version_has_no_rank(session: Session, version: Version) -> None:
    evaluation = add(session, version, "newcomer", 0.3, 20, Visibility.PRIVATE)
    evaluation.scorer_version += 1
    session.flush()
    assert prospective_rank(session, [evaluation]) is None


def test_rank_is_computed_once_for_each_state_of_the_board(
    session: Session, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def compute(*given: Any) -> tuple[int, int] | None:
        calls.append(given)
        return prospective_rank(*given)

    monkeypatch.setattr(prospective_ranks, "prospective_rank", compute)
    monkeypatch.setattr(prospective_ranks, "MAX_KEPT", 2)
    ranks = ProspectiveRanks()
    first = add(session, version, "newcomer", 0.05, 20, Visibility.PRIVATE)
    assert [ranks.rank(session, [first]) for _ in range(3)] == [(9, 9)] * 3
    assert len(calls) == 1
    add(session, version, "another", 0.9, 21)
    update_ranks(session, version)
    assert ranks.rank(session, [first]) == (10, 10)
    assert len(calls) == 2
    others = [add(session, version, f"more-{day}", 0.05, day, Visibility.PRIVATE) for day in (22, 23)]
    for evaluation in (*others, first):
        ranks.rank(session, [evaluation])
    assert len(calls) == 5
