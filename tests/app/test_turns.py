"""The queue is fair: everybody has a turn before anybody has the next, and the place that is told is the one that comes true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.db.models import Evaluation, Kind, State, Submission
from app.scoring import queue
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import Desk

R, P = Kind.RANKED, Kind.PRACTICE


def _send(desk: Desk, toy: Example, sent: list[tuple[str, Kind]]) -> list[str]:
    return [
        desk.accept(npy(toy.scores(seed=seed)), f"m{seed}", user=user, kind=kind)
        for seed, (user, kind) in enumerate(sent)
    ]


def _taken(desk: Desk) -> str | None:
    with desk.database.write() as session:
        evaluation_id = queue.claim(session)
        return None if evaluation_id is None else session.get_one(Evaluation, evaluation_id).submission_id


def _places(desk: Desk, ids: list[str]) -> dict[str, int]:
    with desk.database.read() as session:
        rows = [session.get_one(Submission, submission_id) for submission_id in ids]
        return {row.id: queue.place(session, row) for row in rows if row.state == State.QUEUED}


def test_who_fills_the_queue_makes_nobody_else_wait_for_all_of_it(desk: Desk, toy: Example) -> None:
    ids = _send(desk, toy, [("ann", P)] * 5 + [("ben", P), ("cleo", R)])
    assert [_taken(desk) for _ in ids] == [ids[i] for i in (0, 5, 6, 1, 2, 3, 4)]


def test_ones_own_practice_waits_for_what_one_ranks(desk: Desk, toy: Example) -> None:
    ids = _send(desk, toy, [("ann", P), ("ann", R), ("ben", P)])
    assert [_taken(desk) for _ in ids] == [ids[i] for i in (1, 2, 0)]


@pytest.mark.parametrize("served", [0, 1, 4])
def test_the_place_that_is_told_is_when_it_is_taken(desk: Desk, toy: Example, served: int) -> None:
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
    ids = _send(desk, toy, users)
    taken = [_taken(desk) for _ in range(served)]
    places = _places(desk, ids)
    assert len(places) == len(ids) - served
    taken += [_taken(desk) for _ in places]
    assert {submission_id: taken.index(submission_id) + 1 for submission_id in places} == places
