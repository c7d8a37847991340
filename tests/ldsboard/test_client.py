"""The client's retries: how often it asks a failing server, and after which pauses."""

from __future__ import annotations

import http.server
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ldsboard.client import Client, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator


class ScriptedHandler(http.server.BaseHTTPRequestHandler):
    """Answers requests with the statuses and Retry-After values in `answers`, in order."""

    answers: list[tuple[int, str | None]]
    body = b'{"name": "toy", "version": 1}'

    def do_GET(self) -> None:
        status, after = self.answers.pop(0)
        self.send_response(status)
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- name of the base class's parameter
        pass


@pytest.fixture
def scripted_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ScriptedHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_client_pauses_between_requests_if_server_does_not_long_poll(
    scripted_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses_taken: list[float] = []
    monkeypatch.setattr(ScriptedHandler, "answers", [(200, None)] * 3, raising=False)
    queued: dict[str, Any] = {
        "id": "0123",
        "state": "queued",
        "links": {},
        "hidden": None,
        "public": None,
        "error": None,
    }
    monkeypatch.setattr(ScriptedHandler, "body", json.dumps(queued).encode())

    def pause(seconds: float) -> None:
        pauses_taken.append(seconds)
        monkeypatch.setattr(ScriptedHandler, "body", json.dumps(queued | {"state": "scored"}).encode())

    with Client(scripted_server) as client:
        monkeypatch.setattr(client._closed, "wait", pause)
        assert client.wait("0123", timeout=60) == queued | {"state": "scored"}
    assert pauses_taken == [0.5]
    assert ScriptedHandler.answers == []


@pytest.mark.parametrize(
    ("answers", "pauses"),
    [
        ([(503, None), (503, None), (200, None)], [(0.5, 1), (1, 2)]),
        ([(503, "7"), (429, "9"), (200, None)], [(7, 7), (9, 9)]),
        ([(500, "3"), (200, None)], [(3, 3)]),
        ([(429, None), (408, None), (200, None)], [(0.5, 1), (1, 2)]),
        ([(429, "3600")], RefusedError),
        ([(429, None)] * 4, RefusedError),
        ([(503, "3600")], UnreachableError),
        ([(500, None)] * 4, UnreachableError),
        ([(502, None)] * 4, UnreachableError),
    ],
    ids=str,
)
def test_client_retries_after_time_that_server_names(
    scripted_server: str,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[int, str | None]],
    pauses: list[tuple[float, float]] | type[Exception],
) -> None:
    pauses_taken: list[float] = []

    def pause(timeout: float) -> None:
        pauses_taken.append(timeout)

    monkeypatch.setattr(ScriptedHandler, "answers", list(answers), raising=False)
    with Client(scripted_server) as client:
        monkeypatch.setattr(client._closed, "wait", pause)
        if isinstance(pauses, list):
            client.benchmark("toy")
            assert all(low <= pause <= high for pause, (low, high) in zip(pauses_taken, pauses, strict=True))
        else:
            with pytest.raises(pauses):
                client.benchmark("toy")
    assert ScriptedHandler.answers == []


@pytest.mark.parametrize(
    ("code", "answers", "error"),
    [
        ("internal.failed", [(500, None)] * 4, RefusedError),
        ("internal.busy", [(503, "0")] * 4, UnreachableError),
        ("internal.full", [(507, None)], RefusedError),
        ("rate.exceeded", [(429, "0")] * 4, RefusedError),
        ("quota.exceeded", [(429, "3600")], RefusedError),
        ("quota.uploads", [(429, None)], RefusedError),
        ("scores.shape", [(422, None)], RefusedError),
        ("upload.interrupted", [(400, None)] * 4, UnreachableError),
    ],
)
def test_client_reports_the_words_of_the_server(
    scripted_server: str,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    answers: list[tuple[int, str | None]],
    error: type[Exception],
) -> None:
    problem = {"code": code, "detail": "The words of the server.", "hint": "Try again."}
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    monkeypatch.setattr(ScriptedHandler, "answers", list(answers), raising=False)
    monkeypatch.setattr(ScriptedHandler, "body", json.dumps(problem).encode())
    with Client(scripted_server) as client, pytest.raises(error, match=r"The words of the server\."):
        client.benchmark("toy")
    assert ScriptedHandler.answers == []


@pytest.mark.parametrize("body", [b"<html>Sign in to the network</html>", b"[1, 2]"])
def test_client_reports_answer_of_something_else_than_the_api(
    scripted_server: str, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(ScriptedHandler, "answers", [(200, None)], raising=False)
    monkeypatch.setattr(ScriptedHandler, "body", body)
    with (
        Client(scripted_server) as client,
        pytest.raises(UnreachableError, match="not the answer of an LDSBoard server"),
    ):
        client.benchmark("toy")


def test_client_limits_the_time_that_the_server_names(scripted_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedHandler, "answers", [(429, "9" * 400)], raising=False)
    with Client(scripted_server) as client, pytest.raises(RefusedError) as refused:
        client.benchmark("toy")
    assert refused.value.retry_after == 366 * 24 * 3600


def test_closing_the_client_ends_a_retried_call(scripted_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedHandler, "answers", [(503, "20")], raising=False)
    with Client(scripted_server) as client:
        monkeypatch.setattr(client._closed, "wait", lambda timeout: client.close())  # noqa: ARG005 -- tenacity names it
        with pytest.raises(UnreachableError, match="closed"):
            client.benchmark("toy")
