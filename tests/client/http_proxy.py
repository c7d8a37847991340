"""A reverse proxy before a server that answers selected requests itself, as proxies, firewalls and sign-in pages do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HOP_HEADERS = {"connection", "content-length", "transfer-encoding", "host"}


@dataclass(frozen=True)
class Answer:
    """An answer that the proxy gives in place of the server."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """The proxy reads a share of the body, and resets the connection."""

    share: float = 0.19


@dataclass(frozen=True)
class Hang:
    """The proxy gives no answer until the test releases it; `forwarded` says whether the server gets the request first."""

    forwarded: bool = False


@dataclass(frozen=True)
class Lose:
    """The proxy forwards the request, and resets the connection in place of handing on the answer."""


Rule = Answer | Cut | Hang | Lose | None


def page(status: int, title: str, **headers: str) -> Answer:
    """Return a page as web servers write it."""
    html = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1><hr>gateway</body></html>\r\n"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, html.encode(), {"Content-Type": "text/html"} | names)


class HttpProxy:
    """Forwards requests to a port of this machine, except those for which `rule` returns what happens instead.

    `rule` gets the method and the path of a request. ``requests`` lists method and path of all requests.
    """

    def __init__(self, port: int, rule: Callable[[str, str], Rule] = lambda *_: None) -> None:
        self.rule = rule
        self.requests: list[str] = []
        self.hanging = 0
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                with suppress(ConnectionError):
                    outer._answer(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_CONNECT = handle_one

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Print nothing about connections that the test ends."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._upstream = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._upstream.close()

    def count(self, method: str, ending: str = "") -> int:
        """Return the number of requests with a method and an ending of the path."""
        return sum(line.startswith(f"{method} ") and line.endswith(ending) for line in self.requests)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, size = handler.path.partition("?")[0], int(handler.headers.get("Content-Length") or 0)
        rule = self.rule(handler.command, path)
        self.requests.append(f"{handler.command} {path}")
        if isinstance(rule, Cut):
            handler.rfile.read(int(size * rule.share))
            self._reset(handler)
            return
        body = handler.rfile.read(size)
        if isinstance(rule, Answer):
            self._send(handler, rule.status, rule.headers, rule.body)
            return
        if isinstance(rule, Hang) and not rule.forwarded:
            answer = None
        else:
            headers = {name: value for name, value in handler.headers.items() if name.lower() not in HOP_HEADERS}
            answer = self._upstream.request(handler.command, handler.path, content=body, headers=headers)
        if isinstance(rule, Hang):
            self.hanging += 1
            self.released.wait()
            handler.close_connection = True
        elif isinstance(rule, Lose):
            self._reset(handler)
        elif answer is not None:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in HOP_HEADERS | {"content-encoding"}
            }
            self._send(handler, answer.status_code, kept, answer.content)

    @staticmethod
    def _reset(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        with suppress(OSError):
            handler.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != httpx.codes.NO_CONTENT:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
