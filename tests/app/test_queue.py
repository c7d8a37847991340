"""The queue is fair: everybody has a turn before anybody has the next, and the place that is told is the one that comes true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.db.models import Evaluation, Kind, State, Submission
from app.scoring import queue
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

R, P = Kind.RANKED, Kind.PRACTICE


def _send(harness: ServiceHarness, toy: Example, sent: list[tuple[str, Kind]]) -> list[str]:
    return [
        harness.accept(npy(toy.scores(seed=seed)), f"m{seed}", user=user, kind=kind)
        for seed, (user, kind) in enumerate(sent)
    ]


def _taken(harness: ServiceHarness) -> str | None:
    with harness.database.write() as session:
        evaluation_id = queue.claim(session)
        return None if evaluation_id is None else session.get_one(Evaluation, evaluation_id).submission_id


def _places(harness: ServiceHarness, ids: list[str]) -> dict[str, int]:
    with harness.database.read() as session:
        rows = [session.get_one(Submission, submission_id) for submission_id in ids]
        return {row.id: queue.position(session, row) for row in rows if row.state == State.QUEUED}


def test_users_take_turns_in_the_queue(harness: ServiceHarness, toy: Example) -> None:
    ids = _send(harness, toy, [("ann", P)] * 5 + [("ben", P), ("cleo", R)])
    assert [_taken(harness) for _ in ids] == [ids[i] for i in (0, 5, 6, 1, 2, 3, 4)]


def test_ranked_submissions_of_a_user_precede_practice_submissions(harness: ServiceHarness, toy: Example) -> None:
    ids = _send(harness, toy, [("ann", P), ("ann", R), ("ben", P)])
    assert [_taken(harness) for _ in ids] == [ids[i] for i in (1, 2, 0)]


@pytest.mark.parametrize("served", [0, 1, 4])
def test_queue_position_matches_the_order_of_claims(harness: ServiceHarness, toy: Example, served: int) -> None:
    users = [
        ("ann", P),
        ("ann", P),
        ("ben", R),
        ("ann", R),
        ("cleo", P),
        ("ben", P),
        ("ann", P),
        ("dan", R),
        ("ben", R),
    ]
    ids = _send(harness, toy, users)
    taken = [_taken(harness) for _ in range(served)]
    places = _places(harness, ids)
    assert len(places) == len(ids) - served
    taken += [_taken(harness) for _ in places]
    assert {submission_id: taken.index(submission_id) + 1 for submission_id in places} == places
