"""The client, and a server that is out of temper: how often it is asked, and after which pauses."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ldsboard.client import Client, RefusedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Moody(http.server.BaseHTTPRequestHandler):
    """Answers as it is told, one status and Retry-After after the other."""

    answers: list[tuple[int, str | None]]
    body = b"{}"

    def do_GET(self) -> None:
        status, after = self.answers.pop(0)
        self.send_response(status)
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it so
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_who_is_not_let_wait_pauses_before_asking_again(moody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(Moody, "answers", [(200, None)] * 3, raising=False)
    monkeypatch.setattr(Moody, "body", b'{"state": "queued"}')

    def pause(seconds: float) -> None:
        waited.append(seconds)
        monkeypatch.setattr(Moody, "body", b'{"state": "scored"}')

    with Client(moody) as client:
        monkeypatch.setattr(client._closed, "wait", pause)
        assert client.wait("0123", timeout=60) == {"state": "scored"}
    assert waited == [0.5]
    assert Moody.answers == []


@pytest.mark.parametrize(
    ("answers", "pauses"),
    [
        ([(503, None), (503, None), (200, None)], [(0.5, 1), (1, 2)]),
        ([(503, "7"), (429, "9"), (200, None)], [(7, 7), (9, 9)]),
        ([(500, "3"), (200, None)], [(3, 3)]),
        ([(429, "3600")], RefusedError),
        ([(429, None)], RefusedError),
        ([(503, "3600")], RefusedError),
        ([(500, None)] * 4, RefusedError),
        ([(502, None)] * 4, UnreachableError),
    ],
    ids=str,
)
def test_the_server_is_asked_again_after_the_time_that_it_names(
    moody: str,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[tuple[int, str | None]],
    pauses: list[tuple[float, float]] | type[Exception],
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(Moody, "answers", list(answers), raising=False)
    with Client(moody) as client:
        monkeypatch.setattr(client._closed, "wait", waited.append)
        if isinstance(pauses, list):
            client.benchmark("toy")
            assert all(low <= pause <= high for pause, (low, high) in zip(waited, pauses, strict=True))
        else:
            with pytest.raises(pauses):
                client.benchmark("toy")
    assert Moody.answers == []
