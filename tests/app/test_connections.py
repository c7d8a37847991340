"""Deadlines and limits of connections: a real uvicorn server with a small application, and clients that misbehave."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.guarded_server import GET, LARGE, GuardedServer, read_all
from tests.app.service import until

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        pytest.param(b"", b"", id="silent"),
        pytest.param(b"GET / HT", b"HTTP/1.1 408 ", id="half a request line"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: test\r\nx-a: b\r\n", b"HTTP/1.1 408 ", id="half a head"),
    ],
)
def test_head_that_does_not_arrive_ends_the_connection(
    serve: Callable[..., GuardedServer], sent: bytes, answer: bytes
) -> None:
    server = serve(HEAD_SECONDS=0.2)
    with server.connect(sent) as client:
        assert read_all(client).startswith(answer)


def test_second_head_that_does_not_arrive_ends_the_connection(serve: Callable[..., GuardedServer]) -> None:
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


def test_endless_head_is_rejected(serve: Callable[..., GuardedServer]) -> None:
    server = serve(MAX_HEAD_BYTES=1000)
    with server.connect(b"GET / HTTP/1.1\r\nhost: test\r\n" + b"x-a: b\r\n" * 200) as client:
        assert read_all(client).startswith(b"HTTP/1.1 431 ")


def test_unread_response_ends_the_connection(serve: Callable[..., GuardedServer]) -> None:
    server = serve(WRITE_SECONDS=0.2)
    with server.connect(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n") as client:
        until(lambda: len(server.connections) == 1, "an open connection")
        until(lambda: len(server.connections) == 0, "no connection")
        assert 0 < len(read_all(client)) < LARGE


def test_read_response_is_complete(serve: Callable[..., GuardedServer]) -> None:
    server = serve(WRITE_SECONDS=20.0)
    assert len(httpx.get(f"{server.url}/large", trust_env=False).content) == LARGE


def test_new_connection_replaces_the_longest_silent_one_of_its_address(serve: Callable[..., GuardedServer]) -> None:
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


def test_trusted_proxy_may_open_more_connections(serve: Callable[..., GuardedServer]) -> None:
    server = serve(per_address=1, exempt="127.0.0.3")
    clients = [server.connect(source="127.0.0.3") for _ in range(3)]
    try:
        for client in clients:
            client.sendall(GET)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in clients:
            client.close()


def test_limit_of_all_connections_closes_one_of_the_largest_address(serve: Callable[..., GuardedServer]) -> None:
    server = serve(total=3)
    with server.connect(source="127.0.0.2") as first, server.connect() as second, server.connect() as third:
        until(lambda: len(server.connections) == 3, "three connections")
        with server.connect(GET, source="127.0.0.4") as newest:
            assert newest.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert read_all(second) == b""
        for client in (first, third):
            client.sendall(GET)
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered(serve: Callable[..., GuardedServer]) -> None:
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
    assert found.stdout.split() == ["1488", "2000"]
