"""The sender: a thread that makes the due calls, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from app.accounts.audit import OPERATOR
from app.db.models import State, Submission, Visibility
from app.db.webhooks import CallState
from app.feedback import calls as queue
from app.feedback import messages, requests
from app.feedback import sender as sender_module
from app.feedback.addresses import Addresses
from app.feedback.messages import signature
from app.feedback.sender import CRASHED, Sender
from app.management import moderation
from tests.app.feedback.hooks import add_webhook, calls, end, make_due, states
from tests.app.feedback.receiver import Received, Receiver
from tests.app.service import PATIENCE_SECONDS, ROOT, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.db.webhooks import Webhook
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

PUBLIC_URL = "https://ldsboard.example"
ADDRESSES = Addresses(frozenset({"localhost"}))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def webhook(harness: ServiceHarness, receiver: Receiver) -> Webhook:
    """A webhook of alice with the address of the receiver."""
    return add_webhook(harness.database, url=receiver.url)


@pytest.fixture
def sender(harness: ServiceHarness) -> Iterator[Sender]:
    """A running sender."""
    running = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    running.start()
    yield running
    running.stop()


def _until_state(harness: ServiceHarness, state: CallState, number: int = 1) -> None:
    until(lambda: [call.state for call in calls(harness.database)].count(state) == number, f"{number} {state} calls")


def _message(request: Received) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(request.body)
    return message


@pytest.mark.usefixtures("sender")
def test_call_is_made_when_a_submission_is_scored(
    harness: ServiceHarness, receiver: Receiver, webhook: Webhook
) -> None:
    sent = end(harness)
    _until_state(harness, CallState.DELIVERED)
    (request,), (call,) = receiver.received, calls(harness.database)
    message = _message(request)
    assert message.keys() == {"type", "timestamp", "url", "data"}
    assert message["type"] == "submission.scored"
    assert message["timestamp"] == call.created_at.isoformat()
    assert message["url"] == f"{PUBLIC_URL}/submissions/{sent}"
    assert (message["data"]["id"], message["data"]["state"], message["data"]["owner"]) == (sent, "scored", "alice")
    headers = request.headers
    assert headers["Webhook-Id"] == call.id
    signed = signature(webhook.secret, call.id, headers["Webhook-Timestamp"], request.body)
    assert headers["Webhook-Signature"] == signed
    assert (call.attempts, call.status, call.error) == (1, 204, None)


def test_message_holds_what_everybody_may_see(
    harness: ServiceHarness, toy: Example, receiver: Receiver, webhook: Webhook
) -> None:
    assert webhook.url == receiver.url
    texts = {"description": "By Alice's group", "cost": {"device": "Alice's computer", "seconds": 3.0}}
    texts |= {"provenance": {"repository": "alice/repository"}}
    ids = [
        harness.accept(npy(toy.scores(noise)), "hers", visibility=visibility, **texts)
        for noise, visibility in ((0.2, Visibility.ANONYMOUS), (0.3, Visibility.PRIVATE), (0.4, Visibility.PUBLIC))
    ]
    for _ in ids:
        assert harness.evaluator.evaluate_next()
    with harness.database.write() as session:
        moderation.suspend(session, ids[2], "A copy.", "the operator", OPERATOR)
    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    sender.start()
    _until_state(harness, CallState.DELIVERED, 2)
    sender.stop()
    data = {message["data"]["id"]: message["data"] for message in map(_message, receiver.received)}
    assert data.keys() == {ids[1], ids[2]}, "a message about an anonymous submission names its owner"
    assert data[ids[1]] == {"id": ids[1], "state": "scored"}
    assert data[ids[2]] == {"id": ids[2], "state": "scored"}
    for request in receiver.received:
        assert "alice" not in request.body.decode().lower()


@pytest.mark.usefixtures("webhook", "sender")
def test_rejected_file_is_reported_with_its_error(harness: ServiceHarness, receiver: Receiver) -> None:
    end(harness, State.REJECTED)
    _until_state(harness, CallState.DELIVERED)
    message = _message(receiver.received[0])
    assert (message["type"], message["data"]["error"]["code"]) == ("submission.rejected", "scores.nonfinite")


@pytest.mark.usefixtures("webhook", "sender")
def test_failed_call_is_made_again_with_the_same_id(harness: ServiceHarness, receiver: Receiver) -> None:
    receiver.statuses = [500]
    end(harness)
    until(lambda: calls(harness.database)[0].error, "a failed attempt")
    make_due(harness.database)
    end(harness, user="bob")  # the change wakes the sender
    _until_state(harness, CallState.DELIVERED)
    (call,) = calls(harness.database)
    assert (call.attempts, call.status, call.error) == (2, 204, None)
    assert {request.headers["Webhook-Id"] for request in receiver.received} == {call.id}


@pytest.mark.usefixtures("webhook")
def test_call_about_an_earlier_state_is_not_made(harness: ServiceHarness, receiver: Receiver) -> None:
    withdrawn, kept = end(harness), end(harness)
    harness.move(withdrawn, State.SCORED, State.WITHDRAWN)
    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    sender.start()
    _until_state(harness, CallState.DELIVERED)
    sender.stop()
    assert [_message(request)["data"]["id"] for request in receiver.received] == [kept]
    assert states(harness.database) == [("scored", "failed"), ("scored", "delivered")]
    assert calls(harness.database)[0].attempts == 0


def test_slow_receiver_does_not_hold_up_the_calls_of_others(
    harness: ServiceHarness, receiver: Receiver, webhook: Webhook, sender: Sender
) -> None:
    receiver.answer = lambda _: receiver.released.wait()
    with Receiver() as other:
        add_webhook(harness.database, "bob", other.url)
        end(harness)
        end(harness, method="second")
        until(lambda: receiver.received, "a call that runs")
        end(harness, user="bob")
        _until_state(harness, CallState.DELIVERED)
        assert len(other.received) == 1
    assert len(receiver.received) == 1  # of each user, one call runs
    assert calls(harness.database, "alice")[1].attempts == 0
    sender.stop()  # cancels the running call
    assert "webhooks" not in {thread.name for thread in threading.enumerate()}
    assert calls(harness.database, "alice")[0].state == CallState.WAITING
    assert webhook.disabled_at is None


@pytest.mark.usefixtures("webhook")
def test_call_that_the_server_cannot_write_does_not_hold_up_others(
    harness: ServiceHarness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty, sound = end(harness), end(harness, method="second")
    write = messages.write_message

    def write_or_crash(session: Any, call: Any, public_url: str) -> Any:
        if call.submission_id == faulty:
            raise RuntimeError
        return write(session, call, public_url)

    monkeypatch.setattr(sender_module, "write_message", write_or_crash)
    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    sender.start()
    _until_state(harness, CallState.DELIVERED)
    sender.stop()
    assert [_message(request)["data"]["id"] for request in receiver.received] == [sound]
    assert calls(harness.database)[0].error == CRASHED.error


@pytest.mark.usefixtures("webhook")
def test_sender_survives_errors_of_the_database_and_of_a_request(
    harness: ServiceHarness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(harness)
    monkeypatch.setattr(sender_module, "RECHECK_SECONDS", 0.02)
    failing = [RuntimeError("database"), RuntimeError("request")]
    due, send = queue.due_calls, requests.send

    def due_or_crash(*arguments: Any) -> Any:
        if len(failing) == 2:
            raise failing.pop(0)
        return due(*arguments)

    async def send_or_crash(*arguments: Any) -> Any:
        if failing:
            raise failing.pop(0)
        return await send(*arguments)

    monkeypatch.setattr(sender_module, "due_calls", due_or_crash)
    monkeypatch.setattr(sender_module, "send", send_or_crash)
    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    sender.start()
    until(lambda: calls(harness.database)[0].error == CRASHED.error, "a failed attempt")
    make_due(harness.database)
    _until_state(harness, CallState.DELIVERED)
    sender.stop()
    assert len(receiver.received) == 1


def test_server_that_does_not_lead_makes_no_call_until_it_leads(
    harness: ServiceHarness, receiver: Receiver, webhook: Webhook
) -> None:
    assert webhook.url == receiver.url
    end(harness)
    answers = [False, False]
    asked = threading.Event()

    def leads() -> bool:
        if answers:
            asked.set()
            return answers.pop()
        return True

    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL, leads=leads)
    sender.start()
    assert asked.wait(PATIENCE_SECONDS)
    sender.wake()
    until(lambda: not answers, "a second question")
    assert receiver.received == []
    sender.wake()
    _until_state(harness, CallState.DELIVERED)
    sender.stop()


def test_sender_that_was_not_started_stops_at_once(harness: ServiceHarness) -> None:
    sender = Sender(harness.database, ADDRESSES, PUBLIC_URL)
    sender.wake()
    sender.stop()
    assert "webhooks" not in {thread.name for thread in threading.enumerate()}


def test_process_ends_although_a_name_server_does_not_answer(harness: ServiceHarness) -> None:
    add_webhook(harness.database)
    end(harness)
    command = [sys.executable, "-m", "tests.app.feedback.silent_name_server", str(harness.database.engine.url)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == ["webhook-name"]  # the thread of the sender has ended
    (call,) = calls(harness.database)
    assert (call.state, call.attempts, call.error) == ("waiting", 1, None)


def test_host_that_is_not_public_is_never_called(harness: ServiceHarness, receiver: Receiver) -> None:
    add_webhook(harness.database, url=receiver.url)
    end(harness)
    sender = Sender(harness.database, Addresses(frozenset()), PUBLIC_URL)
    sender.start()
    until(lambda: calls(harness.database)[0].error, "a failed attempt")
    sender.stop()
    (call,) = calls(harness.database)
    assert (call.state, call.status, call.error) == ("waiting", None, "The host has no public address.")
    assert receiver.connections == 0
    with harness.database.read() as session:
        assert session.get_one(Submission, call.submission_id).state == State.SCORED
