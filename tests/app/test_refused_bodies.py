"""Bodies that the server refuses early: every client reads the response, and the rest of the body is drained within limits."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.guarded_server import GET, REFUSAL, GuardedServer, read_all
from tests.app.service import until

if TYPE_CHECKING:
    from collections.abc import Callable

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
    serve: Callable[..., GuardedServer], client: Callable[[str], tuple[int, bytes]], path: str
) -> None:
    assert client(f"{serve().url}{path}") == (422, REFUSAL)


def test_connection_serves_the_next_request_after_a_refused_body(serve: Callable[..., GuardedServer]) -> None:
    server = serve()
    with server.connect(b"PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nx") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 422 ")
        client.sendall(bytes(99_999) + GET)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/", "/close"])
@pytest.mark.parametrize("constants", [{"DRAIN_BYTES": 100_000}, {"DRAIN_SECONDS": 0.2}], ids=["bytes", "seconds"])
def test_refused_body_is_drained_within_limits(
    serve: Callable[..., GuardedServer], path: str, constants: dict[str, float]
) -> None:
    server = serve(**constants)
    with server.connect(f"PUT {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n".encode()) as client:
        client.sendall(b"x")
        assert client.recv(1000).startswith(b"HTTP/1.1 422 ")
        with suppress(OSError):  # the server may have closed the connection already
            client.sendall(b"x" * 200_000)
            assert read_all(client) == b""
        until(lambda: len(server.connections) == 0, "no connection")
