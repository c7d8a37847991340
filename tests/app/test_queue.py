"""The queue: users take turns, and the reported queue position matches the order of claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.db.models import Kind, State, Submission
from app.scoring import queue
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database

R, P = Kind.RANKED, Kind.PRACTICE


def _send(harness: ServiceHarness, toy: Example, sent: list[tuple[str, Kind]]) -> list[str]:
    return [
        harness.accept(npy(toy.scores(seed=seed)), f"m{seed}", user=user, kind=kind)
        for seed, (user, kind) in enumerate(sent)
    ]


def _claim(harness: ServiceHarness) -> str | None:
    with harness.database.write() as session:
        claimed = queue.claim(session)
        return None if claimed is None else claimed.submission_id


def _positions(harness: ServiceHarness, ids: list[str]) -> dict[str, int]:
    with harness.database.read() as session:
        rows = [session.get_one(Submission, submission_id) for submission_id in ids]
        return {row.id: queue.position(session, row) for row in rows if row.state == State.QUEUED}


def test_users_take_turns_in_the_queue(harness: ServiceHarness, toy: Example) -> None:
    ids = _send(harness, toy, [("ann", P)] * 5 + [("ben", P), ("cleo", R)])
    assert [_claim(harness) for _ in ids] == [ids[i] for i in (0, 5, 6, 1, 2, 3, 4)]


def test_ranked_submissions_of_a_user_precede_practice_submissions(harness: ServiceHarness, toy: Example) -> None:
    ids = _send(harness, toy, [("ann", P), ("ann", R), ("ben", P)])
    assert [_claim(harness) for _ in ids] == [ids[i] for i in (1, 2, 0)]


@pytest.mark.parametrize("claimed_before", [0, 1, 4])
def test_queue_position_matches_the_order_of_claims(harness: ServiceHarness, toy: Example, claimed_before: int) -> None:
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
    claimed = [_claim(harness) for _ in range(claimed_before)]
    positions = _positions(harness, ids)
    assert len(positions) == len(ids) - claimed_before
    claimed += [_claim(harness) for _ in positions]
    assert {submission_id: claimed.index(submission_id) + 1 for submission_id in positions} == positions
