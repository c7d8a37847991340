"""A real uvicorn server with a small application and guarded connections, and raw clients of this server."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from app.web.connections import Connections, GuardedProtocol
from tests.app.service import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

GET = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
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


class GuardedServer:
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
    def running(self) -> Iterator[GuardedServer]:
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
