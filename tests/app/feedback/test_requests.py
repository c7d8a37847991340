"""The request of a webhook: where it goes, what counts as delivered, and what a hostile receiver can do."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from app.feedback import requests
from app.feedback.addresses import Addresses
from app.feedback.messages import Message, signature
from tests.app.event_loop import run_in_loop
from tests.app.feedback.receiver import Receiver, write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from app.feedback.calls import Outcome

SECRET = "whsec_" + "QUJD" * 8
LOCAL = Addresses(frozenset({"localhost", "hooks.example.org"}))
VERIFY = ssl.create_default_context()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def _send(url: str, addresses: Addresses = LOCAL, verify: ssl.SSLContext = VERIFY) -> Outcome:
    message = Message("call-1", 1, url, SECRET, json.dumps({"lds": "±"}, ensure_ascii=False).encode())
    return run_in_loop(requests.send(message, addresses, verify))


def test_message_arrives_with_a_signature_over_id_time_and_body(receiver: Receiver) -> None:
    assert _send(f"{receiver.url}/hook?key=a%20b") == (204, None)
    (request,) = receiver.received
    assert request.path == "/hook?key=a%20b"
    assert request.body == '{"lds": "±"}'.encode()
    assert request.headers["Host"] == f"localhost:{receiver.port}"
    assert request.headers["Content-Type"] == "application/json"
    timestamp = request.headers["Webhook-Timestamp"]
    assert timestamp.isdigit()
    assert request.headers["Webhook-Id"] == "call-1"
    assert request.headers["Webhook-Signature"] == signature(SECRET, "call-1", timestamp, request.body)


def test_signature_is_that_of_the_specification() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_status_from_200_to_299_means_delivered(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    assert _send(receiver.url) == (status, None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    expected = f"The receiver answered with status {status}. Redirects are not followed."
    assert _send(receiver.url) == (status, expected)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [304, 400, 404, 410, 429, 500, 503])
def test_other_statuses_are_failures(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    outcome = _send(receiver.url)
    assert outcome.status == status
    assert str(outcome.error).startswith(f"The receiver answered with status {status}.")


def test_host_that_is_not_public_gets_no_connection(receiver: Receiver) -> None:
    public_only = Addresses(frozenset())
    for host in ("localhost", "127.0.0.1"):
        outcome = _send(f"http://{host}:{receiver.port}/", public_only)
        assert outcome == (None, "The host has no public address.")
    assert receiver.connections == 0


def test_connection_goes_to_the_checked_address_and_the_name_is_resolved_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def resolve(_: Addresses, url: Any) -> list[str]:
        asked.append(url.host)
        return ["127.0.0.1"]

    monkeypatch.setattr(Addresses, "resolve", resolve)
    # Nobody else resolves the name: the request would fail, because tests have no network.
    assert _send(f"http://hooks.example.org:{receiver.port}/") == (204, None)
    assert asked == ["hooks.example.org"]
    assert receiver.received[0].headers["Host"] == f"hooks.example.org:{receiver.port}"


def test_further_addresses_are_tried_if_the_first_accepts_no_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: Any) -> list[str]:
        return ["::1", "127.0.0.2", "127.0.0.1"]  # the receiver listens at the last address only

    monkeypatch.setattr(Addresses, "resolve", resolve)
    assert _send(receiver.url) == (204, None)
    assert len(receiver.received) == 1


def test_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert _send(receiver.url) == (204, None)


def _drip(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    """Answer one byte of an endless header at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
    while not receiver.released.wait(0.01):
        handler.wfile.write(b"x")


def _hang(_: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    receiver.released.wait()


def _drip_body(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not receiver.released.wait(0.01):
        handler.wfile.write(b"x")


@pytest.mark.parametrize("answer", [_drip, _hang, _drip_body])
def test_receiver_that_does_not_end_its_answer_is_left_after_the_total_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(requests, "TOTAL_SECONDS", 0.3)
    receiver.answer = lambda handler: answer(handler, receiver)
    assert _send(receiver.url) == (None, "The receiver did not answer within 0.3 seconds.")


def test_endless_answer_is_read_up_to_its_limit(receiver: Receiver) -> None:
    sent = 0

    def answer(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        while not receiver.released.is_set():
            handler.wfile.write(bytes(65536))
            sent += 65536

    receiver.answer = answer
    assert _send(receiver.url) == (200, None)


def test_answer_that_is_no_http_and_a_closed_port_are_failures(receiver: Receiver) -> None:
    receiver.answer = lambda handler: handler.wfile.write(b"220 mail.example.org ESMTP\r\n")
    assert _send(receiver.url) == (None, "The connection to the receiver failed.")
    with Receiver() as other:
        closed = other.url
    assert _send(closed) == (None, "The connection to the receiver failed.")


def test_certificate_must_be_trusted_and_valid_for_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = write_certificate(tmp_path / "key.pem", "hooks.example.org")

    async def resolve(*_: Any) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(Addresses, "resolve", resolve)
    with Receiver(tmp_path / "key.pem") as receiver:
        address = f"https://hooks.example.org:{receiver.port}/"
        assert _send(address, verify=trusting) == (204, None)
        assert _send(address) == (None, "The certificate of the receiver is not valid.")
        assert _send(receiver.url, verify=trusting) == (None, "The certificate of the receiver is not valid.")
        assert len(receiver.received) == 1


def test_cancelled_request_closes_its_connection(receiver: Receiver) -> None:
    receiver.answer = lambda handler: _hang(handler, receiver)
    message = Message("call-1", 1, receiver.url, SECRET, b"{}")

    async def cancel() -> None:
        task = asyncio.create_task(requests.send(message, LOCAL, VERIFY))
        while not receiver.received:  # noqa: ASYNC110 -- the receiver runs in another thread
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    run_in_loop(cancel())
