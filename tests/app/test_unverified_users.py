"""Users without a verified identity share a quota of ranked submissions, and their results count for every entry."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from app.__main__ import cli
from app.accounts import external_identities, users
from app.accounts.quotas import Quotas, UnverifiedQuota
from app.benchmarks import catalog
from app.db.accounts import User
from app.db.base import now
from app.db.models import Kind, Submission
from app.errors import QuotaError
from app.leaderboard.views import leaderboard_view
from ldsboard.core.ceiling import attempt_gain
from ldsboard.problems import ProblemError
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

QUOTAS = Quotas(5, 30, unverified=UnverifiedQuota(3, 4))


@pytest.fixture
def strangers(harness: ServiceHarness) -> list[str]:
    """Names of users who signed in through GitHub."""
    harness.quotas = QUOTAS
    with harness.database.write() as session:
        return [
            external_identities.find_or_add_user(session, "https://github.com", subject, f"stranger-{subject}").name
            for subject in "123"
        ]


def remaining(harness: ServiceHarness, name: str) -> tuple[int, int, int, int, bool]:
    with harness.database.read() as session:
        user_id = session.scalars(select(User.id).where(User.name == name)).one()
        quota = harness.quotas.remaining(session, user_id, catalog.find_version(session, "toy"))
    return quota.per_day, quota.left_today, quota.per_version, quota.left_for_version, quota.shared


def test_only_unverified_users_share_a_quota(harness: ServiceHarness, strangers: list[str]) -> None:
    with harness.database.write() as session:
        known = external_identities.find_or_add_user(session, "https://login.example.org", "1", "known", verified=True)
        assert (known.verified, users.add_user(session, "alice").verified) == (True, True)
    for number, name in enumerate([strangers[0], strangers[1], strangers[0]]):
        harness.reserve(100, f"m{number}", user=name)
    assert remaining(harness, strangers[2]) == (3, 0, 4, 1, True)
    assert remaining(harness, "known") == (5, 5, 30, 30, False)
    with pytest.raises(QuotaError, match="3 ranked submissions of all accounts without a verified identity") as refused:
        harness.reserve(100, user=strangers[2])
    assert "Ask the operator to approve your account" in str(refused.value.problem.hint)
    harness.reserve(100, user=strangers[2], kind=Kind.PRACTICE)
    harness.reserve(100, user="known")

    with harness.database.write() as session:
        session.execute(update(Submission).values(created_at=now() - timedelta(hours=25)))
    assert remaining(harness, strangers[2]) == (3, 3, 4, 1, True)
    harness.reserve(100, user=strangers[2])
    with pytest.raises(QuotaError, match=r"4 ranked submissions of all accounts .* to one version"):
        harness.reserve(100, user=strangers[0])


def test_own_quota_counts_if_it_leaves_less(harness: ServiceHarness, strangers: list[str]) -> None:
    with harness.database.write() as session:
        users.add_user(session, strangers[0], ranked_per_day=1, ranked_per_version=2)
    assert remaining(harness, strangers[0]) == (1, 1, 2, 2, False)
    for number in range(2):
        harness.reserve(100, f"m{number}", user=strangers[1])
    harness.quotas = dataclasses.replace(QUOTAS, unverified=UnverifiedQuota(2, 4))
    assert remaining(harness, strangers[0]) == (2, 0, 2, 2, True)


def test_approved_user_has_a_quota_of_their_own(
    harness: ServiceHarness, strangers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.quotas = dataclasses.replace(QUOTAS, unverified=UnverifiedQuota(0, 0, needs_approval=True))
    with pytest.raises(ProblemError) as refused:
        harness.reserve(100, user=strangers[0])
    assert refused.value.problem.code == "quota.approval"
    harness.reserve(100, user=strangers[0], kind=Kind.PRACTICE)
    monkeypatch.setenv("LDSBOARD_DATABASE_URL", str(harness.database.engine.url))
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(harness.benchmarks.parent))
    done = CliRunner().invoke(cli, ["user", "approve", strangers[0]])
    assert (done.exit_code, done.output) == (0, f"User {strangers[0]} is approved.\n")
    harness.reserve(100, user=strangers[0])
    with pytest.raises(ProblemError):
        harness.reserve(100, user=strangers[1])
    assert "no user" in CliRunner().invoke(cli, ["user", "approve", "nobody"]).output.lower()


def test_possible_gain_counts_the_results_of_unverified_users(
    harness: ServiceHarness, toy: Example, strangers: list[str]
) -> None:
    harness.quotas = Quotas(50, 300)
    sent = [("alice", 2), (strangers[0], 3), (strangers[1], 1)]
    for name, attempts in sent:
        for number in range(attempts):
            harness.accept(npy(toy.scores(0.5 + number, seed=len(name))), f"m{number}", user=name)
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.read() as session:
        version = catalog.find_version(session, "toy")
        board = leaderboard_view(session, version)
        spectrum = round(version.manifest["attempts_spectrum"], 4)
    assert {row.owner: row.attempts for row in board.rows} == dict(sent)
    for row in board.rows:
        usable = 6 if row.owner == "alice" else 4
        assert row.possible_gain == round(attempt_gain(row.lds, usable, spectrum, 120), 4)
    assert board.all_users is not None
    assert board.all_users.attempts == 6
    assert board.all_users.possible_gain == round(attempt_gain(board.rows[0].lds, 6, spectrum, 120), 4)
