"""A TCP proxy before a server: it records requests and blocks the selected ones."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class TcpProxy:
    """Forwards connections to a port of this machine.

    Requests whose address ends with ``blocked_suffix`` are not forwarded. ``requests`` lists method and address of all requests.
    """

    def __init__(self, port: int, blocked_suffix: str = "") -> None:
        self.blocked_suffix = blocked_suffix
        self.requests: list[str] = []
        self._port = port
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://localhost:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connection in [self._listener, *self._connections]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("localhost", self._port))
            except OSError:
                client.close()
                continue
            self._connections += [client, server]
            for pair in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._forward, args=pair))
                self._threads[-1].start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        blocks = False
        with suppress(OSError):
            while chunk := source.recv(1 << 16):
                for line in re.findall(rb"^([A-Z]+ /\S*) HTTP/1.1\r\n", chunk):
                    self.requests.append(line.decode())
                    blocks = bool(self.blocked_suffix) and line.decode().endswith(self.blocked_suffix)
                if not blocks:
                    target.sendall(chunk)
        for connection in (source, target):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
