"""Bans without a server: the queue, rescorings, sessions, and work that began before the ban."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.accounts import users
from app.accounts.audit import OPERATOR
from app.db.accounts import User
from app.db.models import Evaluation, Submission
from app.management import moderation
from app.management.editing import find_owned
from app.results.submission_views import progress
from app.scoring import queue
from app.submissions import lifecycle, multipart
from ldsboard import ProblemError
from ldsboard.core import result
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

REASON = "Sends the same file from many accounts."


def test_work_that_began_before_the_ban_is_refused(harness: ServiceHarness, toy: Example) -> None:
    content = npy(toy.scores())
    submission_id = harness.reserve(len(content), user="ann")
    with harness.database.write() as session:
        account = users.read_only_account(users.find_user(session, "ann"))
        moderation.ban(session, "ann", REASON, "the operator", OPERATOR)
    with pytest.raises(ProblemError, match=REASON):
        harness.reserve(1, user="ann")
    with pytest.raises(ProblemError, match=REASON), harness.database.read() as session:
        find_owned(session, submission_id, account)
    with harness.storage.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        with pytest.raises(ProblemError, match=REASON), harness.database.write() as session:
            lifecycle.accept(session, harness.storage, submission_id, arrival, harness.quotas)
    assert harness.files() == 0


def test_part_that_arrives_after_the_ban_is_not_stored(harness: ServiceHarness, toy: Example) -> None:
    content = npy(toy.scores())
    submission_id = harness.reserve(len(content), user="ann")
    with harness.database.write() as session:
        submission = session.get_one(Submission, submission_id)
        multipart.open_upload(session, submission, "0" * 64, len(content), timedelta(hours=1))
        moderation.ban(session, "ann", REASON, "the operator", OPERATOR)
    with harness.storage.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        with harness.database.write() as session:
            upload = multipart.find_upload(session, submission_id)
            with pytest.raises(ProblemError, match=REASON):
                multipart.receive_part(session, harness.storage, upload, 0, arrival)
    assert harness.files() == 0


def test_queued_submissions_of_a_banned_user_wait_and_delay_nobody(harness: ServiceHarness, toy: Example) -> None:
    ids = [harness.accept(npy(toy.scores(seed=seed)), user=user) for seed, user in enumerate(("ann", "ben"))]

    def positions() -> list[int | None]:
        with harness.database.read() as session:
            return [progress(session, session.get_one(Submission, submission_id)).position for submission_id in ids]

    assert positions() == [1, 2]
    with harness.database.write() as session:
        moderation.ban(session, "ann", REASON, "the operator", OPERATOR)
    assert positions() == [1, 1]  # nobody sees from the position that the owner is banned
    with harness.database.write() as session:
        assert (second := queue.claim(session)) is not None
        assert second.submission_id == ids[1]
        assert queue.claim(session) is None
        moderation.lift_ban(session, "ann", OPERATOR)
        assert (first := queue.claim(session)) is not None
        assert first.submission_id == ids[0]


def test_rescoring_of_a_banned_user_goes_on(harness: ServiceHarness, toy: Example) -> None:
    sent = harness.accept(npy(toy.scores()), user="ann")
    assert harness.evaluator.evaluate_next()
    with harness.database.write() as session:
        moderation.ban(session, "ann", REASON, "the operator", OPERATOR)
        outdated = session.scalars(select(Evaluation)).one()
        outdated.scorer_version -= 1
        session.flush()
        session.add(
            Evaluation(submission_id=sent, version_id=outdated.version_id, scorer_version=result.SCORER_VERSION)
        )
    assert harness.evaluator.evaluate_next()


def test_ban_ends_the_sessions_of_the_user(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        before = users.add_user(session, "ann").session_generation
        moderation.ban(session, "ann", REASON, "the operator", OPERATOR)
    with harness.database.read() as session:
        assert session.scalars(select(User)).one().session_generation == before + 1
