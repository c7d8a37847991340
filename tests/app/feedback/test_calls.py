"""The queue of calls, without a server: which events queue a call, whose turn it is, retries, and disabled webhooks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import func, select, update

from app.accounts import users, webhooks
from app.accounts.audit import OPERATOR
from app.db.base import now
from app.db.models import Evaluation, Kind, State, Submission
from app.db.webhooks import CallState, Webhook, WebhookCall
from app.feedback.calls import (
    MAX_ATTEMPTS,
    MAX_FAILURES,
    PAUSES,
    Outcome,
    begin_attempts,
    due_calls,
    record_outcome,
)
from app.management import consistency, moderation
from app.management.removal import delete_submissions
from app.scoring import rescoring
from ldsboard.core import result
from tests.app.aging import DAY, sweep_all
from tests.app.feedback.hooks import add_webhook, calls, end, make_due, states
from tests.app.service import npy

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

SCORED, WAITING, DELIVERED, FAILED = State.SCORED, CallState.WAITING, CallState.DELIVERED, CallState.FAILED
REFUSED = Outcome(500, "The receiver answered with status 500.")


@pytest.fixture
def sent(harness: ServiceHarness) -> str:
    """A scored submission of alice, who has one webhook, and its waiting call."""
    add_webhook(harness.database)
    return end(harness)


def _queue(database: Database, submission_id: str, number: int = 1) -> None:
    with database.write() as session:
        for _ in range(number):
            webhooks.queue_calls(session, submission_id, SCORED)


def _due(database: Database, busy: tuple[int, ...] = (), limit: int = 100) -> list[str]:
    with database.read() as session:
        return [call.id for call in due_calls(session, busy, limit)]


def _attempt(database: Database, call_id: str, outcome: Outcome) -> WebhookCall:
    """Make an attempt with this outcome; return the row of the call."""
    with database.write() as session:
        begin_attempts(session, [call_id], [])
    with database.write() as session:
        record_outcome(session, call_id, outcome)
        return session.get_one(WebhookCall, call_id)


def _give_up(database: Database) -> None:
    """Make attempts of the only waiting call until it is given up."""
    (call_id,) = (call.id for call in calls(database) if call.state == WAITING)
    for _ in range(MAX_ATTEMPTS):
        _attempt(database, call_id, REFUSED)


def test_scored_rejected_and_failed_submissions_queue_calls(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_webhook(harness.database)
    spoiled = toy.scores()
    spoiled[0, 0] = np.nan
    harness.accept(npy(toy.scores()))
    harness.accept(npy(toy.scores(0.2)), kind=Kind.PRACTICE)
    harness.accept(npy(spoiled))
    for _ in range(3):
        assert harness.evaluator.evaluate_next()
    failing = harness.accept(npy(toy.scores(0.3)))

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(harness.sandbox, "score", fail)
    while harness.state(failing) != State.FAILED:
        assert harness.evaluator.evaluate_next()
    assert states(harness.database) == [
        ("scored", "waiting"),
        ("rejected", "waiting"),
        ("scored", "waiting"),  # practice submissions are scored last
        ("failed", "waiting"),
    ]


def test_each_webhook_of_the_owner_gets_a_call_and_those_of_others_get_none(harness: ServiceHarness) -> None:
    mine = {add_webhook(harness.database, url=f"https://hooks.example.org/{number}").id for number in range(2)}
    add_webhook(harness.database, "bob")
    sent = end(harness)
    assert {(call.webhook_id, call.submission_id) for call in calls(harness.database)} == {(id_, sent) for id_ in mine}


def test_rescoring_queues_no_call(harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    add_webhook(harness.database)
    sent = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    monkeypatch.setattr(result, "SCORER_VERSION", result.SCORER_VERSION + 1)
    with harness.database.write() as session:
        rescoring.queue_rescorings(session)
    assert harness.evaluator.evaluate_next()
    with harness.database.read() as session:
        assert (
            session.scalar(select(func.count()).select_from(Evaluation).where(Evaluation.scored_at.is_not(None))) == 2
        )
    assert [call.submission_id for call in calls(harness.database)] == [sent]


def test_state_and_call_are_saved_together_or_not_at_all(harness: ServiceHarness, sent: str) -> None:
    with pytest.raises(KeyError), harness.database.write() as session:  # noqa: PT012 -- the block is the transaction
        webhooks.queue_calls(session, sent, SCORED)
        raise KeyError
    assert len(calls(harness.database)) == 1


def test_number_of_waiting_calls_is_bounded(
    harness: ServiceHarness, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MAX_WAITING", 3)
    _queue(harness.database, sent, 5)
    assert len(calls(harness.database)) == 3
    _attempt(harness.database, calls(harness.database)[0].id, Outcome(204, None))
    _queue(harness.database, sent, 5)
    assert [call.state for call in calls(harness.database)].count(WAITING) == 3


def test_users_take_turns_and_have_one_running_call(harness: ServiceHarness) -> None:
    owners: dict[str, str] = {}
    for user in ("alice", "bob"):
        for hook in range(2):
            add_webhook(harness.database, user, f"https://hooks.example.org/{hook}")
        _queue(harness.database, end(harness, user=user), 2)
        owners |= {call.id: user for call in calls(harness.database, user)}
    assert len(owners) == 12
    due = _due(harness.database)
    assert [owners[call_id] for call_id in due] == ["alice", "bob"]
    assert due == [calls(harness.database, user)[0].id for user in ("alice", "bob")]
    assert _due(harness.database, limit=1) == due[:1]
    assert _due(harness.database, limit=0) == []
    with harness.database.read() as session:
        alice = users.find_user(session, "alice").id
    assert _due(harness.database, busy=(alice,)) == due[1:]


def test_failed_attempts_are_repeated_after_growing_pauses(harness: ServiceHarness, sent: str) -> None:
    (call_id,) = _due(harness.database)
    for number, pause in enumerate(PAUSES, 1):
        before = now()
        call = _attempt(harness.database, call_id, REFUSED)
        assert (call.attempts, call.state, call.status, call.error) == (number, WAITING, 500, REFUSED.error)
        assert before + pause <= call.next_at <= now() + pause
        assert _due(harness.database) == []
        make_due(harness.database)
        assert _due(harness.database) == [call_id]
    assert list(PAUSES) == sorted(PAUSES)
    last = _attempt(harness.database, call_id, Outcome(None, "The connection to the receiver failed."))
    assert (last.attempts, last.state, last.status) == (MAX_ATTEMPTS, FAILED, None)
    assert last.ended_at is not None
    make_due(harness.database)
    assert _due(harness.database) == []
    assert harness.state(sent) == SCORED


def test_attempt_of_a_killed_server_is_repeated(harness: ServiceHarness, sent: str) -> None:
    (call_id,) = _due(harness.database)
    for _ in range(MAX_ATTEMPTS + 1):  # also if the server is killed during the last attempt
        with harness.database.write() as session:
            begin_attempts(session, [call_id], [])
        assert _due(harness.database) == []
        make_due(harness.database)
        assert _due(harness.database) == [call_id]
    assert _attempt(harness.database, call_id, Outcome(204, None)).state == DELIVERED
    assert harness.state(sent) == SCORED


def test_webhook_is_disabled_after_calls_in_a_row_were_given_up(harness: ServiceHarness, sent: str) -> None:
    for _ in range(MAX_FAILURES - 1):
        _give_up(harness.database)
        _queue(harness.database, sent)
    (waiting,) = (call.id for call in calls(harness.database) if call.state == WAITING)
    _attempt(harness.database, waiting, Outcome(204, None))  # the calls before no longer count
    for number in range(MAX_FAILURES):
        _queue(harness.database, sent)
        if number == MAX_FAILURES - 1:
            with harness.database.read() as session:
                assert session.scalars(select(Webhook)).one().disabled_at is None
        _give_up(harness.database)
    with harness.database.read() as session:
        assert session.scalars(select(Webhook)).one().disabled_at is not None
    before = len(calls(harness.database))
    _queue(harness.database, sent)
    assert len(calls(harness.database)) == before


def test_calls_that_wait_for_a_disabled_webhook_end(harness: ServiceHarness, sent: str) -> None:
    with harness.database.write() as session:
        session.execute(update(Webhook).values(failures=MAX_FAILURES - 1))
    call_id = calls(harness.database)[0].id
    for _ in range(MAX_ATTEMPTS - 1):
        _attempt(harness.database, call_id, REFUSED)
    _queue(harness.database, sent, 2)
    _attempt(harness.database, call_id, REFUSED)
    ended = calls(harness.database)
    assert {call.state for call in ended} == {FAILED}
    assert [call.error for call in ended] == [REFUSED.error, webhooks.DISABLED, webhooks.DISABLED]
    with harness.database.read() as session:
        assert _stuck(session, harness) == []


def _stuck(session: Session, harness: ServiceHarness) -> list[consistency.Finding]:
    """Return what the doctor finds about webhooks."""
    found = consistency.inspect(session, harness.storage, harness.benchmarks, quick=True)
    return [finding for finding in found if finding.message.startswith("webhook")]


def test_doctor_ends_calls_that_wait_for_a_disabled_webhook(harness: ServiceHarness, sent: str) -> None:
    with harness.database.write() as session:
        session.execute(update(Webhook).values(disabled_at=now()))
    with harness.database.write() as session:
        (finding,) = _stuck(session, harness)
        assert finding.message == f"webhook {calls(harness.database)[0].webhook_id} is disabled, but calls of it wait"
        assert finding.repair is not None
        finding.repair()
    assert states(harness.database) == [("scored", "failed")]
    assert harness.state(sent) == SCORED


def test_calls_of_a_banned_user_wait_for_the_end_of_the_ban(harness: ServiceHarness, sent: str) -> None:
    due = _due(harness.database)
    assert [call.submission_id for call in calls(harness.database)] == [sent]
    with harness.database.write() as session:
        moderation.ban(session, "alice", "A reason.", "the operator", OPERATOR)
    assert _due(harness.database) == []
    with harness.database.write() as session:
        moderation.lift_ban(session, "alice", OPERATOR)
    assert _due(harness.database) == due != []


def test_outcome_of_a_removed_webhook_is_dropped(harness: ServiceHarness, sent: str) -> None:
    (call,) = calls(harness.database)
    with harness.database.write() as session:
        begin_attempts(session, [call.id], [])
        webhooks.remove(session, session.get_one(Submission, sent).user_id, call.webhook_id)
    with harness.database.write() as session:
        record_outcome(session, call.id, Outcome(204, None))
    assert calls(harness.database) == []


def test_deleted_submissions_take_their_calls_along(harness: ServiceHarness, sent: str) -> None:
    with harness.database.write() as session:
        delete_submissions(session, [sent])
    assert calls(harness.database) == []


def test_retention_deletes_calls_after_the_period_of_events(harness: ServiceHarness, sent: str) -> None:
    _queue(harness.database, sent, 2)
    old, kept, _ = calls(harness.database)
    with harness.database.write() as session:
        session.get_one(WebhookCall, old.id).created_at = now() - 90 * DAY - timedelta(seconds=1)
        session.get_one(WebhookCall, kept.id).created_at = now() - 89 * DAY
    assert sweep_all(harness).webhook_calls == 1
    assert old.id not in {call.id for call in calls(harness.database)}
    assert len(calls(harness.database)) == 2
