"""Deadlines and limits of connections: a real uvicorn server with a small application, and clients that misbehave."""

from __future__ import annotations

import resource
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from app.web import connections as connections_module
from app.web.connections import Connections, GuardedProtocol
from tests.app.service import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

LARGE = 256 << 20
REFUSAL = b'{"code": "scores.shape"}'


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer GET with one byte, /large with many, /wait once the client has gone; refuse PUT after its first bytes."""
    status, body, headers = 200, b"x", []
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        for _ in range(LARGE >> 16):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["method"] == "PUT":
        await receive()
        status, body = 422, REFUSAL
    if scope["path"] == "/close":
        headers.append((b"connection", b"close"))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server:
    """A server in a thread, its connections, and raw clients of it."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            application,
            http=partial(GuardedProtocol, connections=connections),  # type: ignore[arg-type]  # called like the class
            ws="none",
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    @contextmanager
    def running(self) -> Iterator[Server]:
        """Run the server for the length of the block."""
        self._thread.start()
        try:
            until(lambda: self._server.started, "a started server")
            yield self
        finally:
            self._server.should_exit = True
            self._thread.join()
            self._listener.close()

    def connect(self, request: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        """Open a connection and send bytes."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(source, 0))
        client.sendall(request)
        return client


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server whose constants have other values."""
    monkeypatch.setattr(connections_module, "SWEEP_SECONDS", 0.02)
    started = []

    def start(*, per_address: int = 100, total: int = 1000, exempt: str = "", **constants: Any) -> Server:
        for name, value in constants.items():
            monkeypatch.setattr(connections_module, name, value)
        server = Server(Connections(per_address, total, lambda address: address == exempt))
        started.append(server.running())
        return started[-1].__enter__()

    yield start
    for server in started:
        server.__exit__(None, None, None)


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    while True:
        try:
            piece = client.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


GET = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(b"GET / HT", b"HTTP/1.1 408 ", id="half a request line"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: test\r\nx-a: b\r\n", b"HTTP/1.1 408 ", id="half a head"),
    ],
)
def test_head_that_does_not_arrive_ends_the_connection(
    serve: Callable[..., Server], sent: bytes, answer: bytes
) -> None:
    server = serve(HEAD_SECONDS=0.2)
    with server.connect(sent) as client:
        assert read_all(client).startswith(answer)


def test_second_head_that_does_not_arrive_ends_the_connection(serve: Callable[..., Server]) -> None:
    server = serve(HEAD_SECONDS=0.2)
    with server.connect(GET) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        client.sendall(
            b"\r\n"
        )  # a client that sends empty lines is not idle, and would postpone uvicorn's own deadline
        assert read_all(client) in (
            b"",
            b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        )


def test_endless_head_is_rejected(serve: Callable[..., Server]) -> None:
    server = serve(MAX_HEAD_BYTES=1000)
    with server.connect(b"GET / HTTP/1.1\r\nhost: test\r\n" + b"x-a: b\r\n" * 200) as client:
        assert read_all(client).startswith(b"HTTP/1.1 431 ")


def test_unread_response_ends_the_connection(serve: Callable[..., Server]) -> None:
    server = serve(WRITE_SECONDS=0.2)
    with server.connect(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n") as client:
        until(lambda: len(server.connections) == 1, "an open connection")
        until(lambda: len(server.connections) == 0, "no connection")
        assert 0 < len(read_all(client)) < LARGE


def test_read_response_is_complete(serve: Callable[..., Server]) -> None:
    server = serve(WRITE_SECONDS=20.0)
    assert len(httpx.get(f"{server.url}/large", trust_env=False).content) == LARGE


def test_new_connection_replaces_the_longest_silent_one_of_its_address(serve: Callable[..., Server]) -> None:
    server = serve(per_address=3)
    with (
        server.connect(b"GET /wait HTTP/1.1\r\nhost: test\r\n\r\n") as busy,
        server.connect(b"GET / ") as silent,
        server.connect(b"GET / ") as later,
        server.connect(GET, source="127.0.0.2") as other,
    ):
        assert other.recv(1000).startswith(b"HTTP/1.1 200 ")
        until(lambda: len(server.connections) == 4, "four connections")
        with server.connect(GET) as newest:
            assert newest.recv(1000).startswith(b"HTTP/1.1 200 ")
            assert read_all(silent) == b""
            for client in (busy, later):  # these two are still open
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)
        later.setblocking(True)
        later.sendall(b"HTTP/1.1\r\nhost: test\r\n\r\n")
        assert later.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_trusted_proxy_may_open_more_connections(serve: Callable[..., Server]) -> None:
    server = serve(per_address=1, exempt="127.0.0.3")
    clients = [server.connect(source="127.0.0.3") for _ in range(3)]
    try:
        for client in clients:
            client.sendall(GET)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in clients:
            client.close()


def test_limit_of_all_connections_closes_one_of_the_largest_address(serve: Callable[..., Server]) -> None:
    server = serve(total=3)
    with server.connect(source="127.0.0.2") as first, server.connect() as second, server.connect() as third:
        until(lambda: len(server.connections) == 3, "three connections")
        with server.connect(GET, source="127.0.0.4") as newest:
            assert newest.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert read_all(second) == b""
        for client in (first, third):
            client.sendall(GET)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


BODY_BYTES = 24 << 20


def _urllib(url: str) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data=bytes(BODY_BYTES), method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60)
    with caught.value as answer:
        return answer.code, answer.read()


def _httpx(url: str) -> tuple[int, bytes]:
    answer = httpx.put(url, content=bytes(BODY_BYTES), trust_env=False, timeout=60)
    return answer.status_code, answer.content


def _curl(url: str) -> tuple[int, bytes]:
    curl = shutil.which("curl")
    assert curl is not None
    command = [
        curl,
        "-sS",
        "-T",
        "-",
        "-H",
        f"Content-Length: {BODY_BYTES}",
        "-H",
        "Transfer-Encoding:",
        "-w",
        " %{http_code}",
    ]
    answer = subprocess.run([*command, url], input=bytes(BODY_BYTES), capture_output=True, check=True)
    body, _, status = answer.stdout.rpartition(b" ")
    return int(status), body


@pytest.mark.parametrize("path", ["/", "/close"])
@pytest.mark.parametrize("client", [_urllib, _httpx, _curl])
def test_client_reads_the_response_to_a_body_that_is_refused_early(
    serve: Callable[..., Server], client: Callable[[str], tuple[int, bytes]], path: str
) -> None:
    assert client(f"{serve().url}{path}") == (422, REFUSAL)


def test_connection_serves_the_next_request_after_a_refused_body(serve: Callable[..., Server]) -> None:
    server = serve()
    with server.connect(b"PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nx") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 422 ")
        client.sendall(bytes(99_999) + GET)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/", "/close"])
@pytest.mark.parametrize("constants", [{"DRAIN_BYTES": 100_000}, {"DRAIN_SECONDS": 0.2}], ids=["bytes", "seconds"])
def test_refused_body_is_drained_within_limits(
    serve: Callable[..., Server], path: str, constants: dict[str, float]
) -> None:
    server = serve(**constants)
    with server.connect(f"PUT {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n".encode()) as client:
        client.sendall(b"x")
        assert client.recv(1000).startswith(b"HTTP/1.1 422 ")
        with suppress(OSError):  # the server may have closed the connection already
            client.sendall(b"x" * 200_000)
            assert read_all(client) == b""
        until(lambda: len(server.connections) == 0, "no connection")


def test_pipelined_requests_are_answered(serve: Callable[..., Server]) -> None:
    with serve().connect(GET * 3 + b"GET /close HTTP/1.1\r\nhost: test\r\n\r\n") as client:
        assert read_all(client).count(b"HTTP/1.1 200 ") == 4


def test_descriptor_limit_is_raised_to_the_hard_limit_with_a_reserve() -> None:
    code = """
import resource
from app.web.connections import raise_descriptor_limit
print(raise_descriptor_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, 2000))

    found = subprocess.run([sys.executable, "-c", code], preexec_fn=lower, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1744", "2000"]
