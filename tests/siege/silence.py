"""Silence: thousands of connections that send nothing, and hundreds of slow ones, while other clients are served."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.siege.clients import HOST, Probe, Request, burst

if TYPE_CHECKING:
    from tests.app.service import Service
    from tests.siege.report import Report

SILENT, SLOW, ADDRESSES = 5000, 500, 10
FLOODING = "127.0.0.2"
SERVED_SECONDS, CLOSED_SECONDS = 0.5, 95.0
"""Bound of the answers to other clients, and of the time until every hostile connection is closed by the server."""

UPLOAD = "PUT /api/v1/benchmarks/bench/submissions?method=slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
KINDS = {
    "half a request line": ("GET /bench", ""),
    "endless head": ("GET / HTTP/1.1\r\nHost: x\r\n", "X-A: b\r\n"),
    "small body that does not come": ("POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n", "{"),
    "upload that drips": (UPLOAD + "Content-Length: 8000000\r\n\r\n", "x"),
    "response that nobody reads": ("GET /api/v1/benchmarks/bench/public.npz HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    "empty lines": ("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n"),
}
"""What a slow connection of each kind sends at first, and then once every few seconds."""


class Crowd:
    """Hostile connections, and how long the server kept each of them open."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token
        self.lifetimes: dict[str, list[float]] = {}

    async def hold(self, kind: str, source: str, first: str, again: str, opened: asyncio.Semaphore) -> None:
        """Open a connection, send as its kind says, and wait until the server closes it."""
        reader, writer = await asyncio.open_connection(HOST, self._port, local_addr=(source, 0), limit=1 << 12)
        start = time.monotonic()
        opened.release()
        with suppress(OSError):
            writer.write(first.replace("{token}", self._token).encode())
            if kind == "response that nobody reads":
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of a socket can pause
                while not writer.transport.is_closing() and time.monotonic() - start < CLOSED_SECONDS:
                    await asyncio.sleep(3)
                    if time.monotonic() - start > CLOSED_SECONDS - 10:
                        writer.transport.resume_reading()  # type: ignore[attr-defined]
                        await reader.read()
                        break
            while not reader.at_eof() and time.monotonic() - start < CLOSED_SECONDS:
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1 << 16), 3)
                if again and not reader.at_eof():
                    writer.write(again.encode())
                    await writer.drain()
        self.lifetimes.setdefault(kind, []).append(time.monotonic() - start)
        writer.close()
