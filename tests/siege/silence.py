"""Silence: thousands of connections that send nothing, and hundreds of slow ones, while other clients are served."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import psutil

from app.web.connections import raise_descriptor_limit
from tests.app.service import until
from tests.siege.clients import HOST, OK, Probe, Request, burst, in_background

if TYPE_CHECKING:
    from tests.app.service import Service
    from tests.siege.report import Report

SILENT, SLOW, ADDRESSES = 5000, 500, 10
FLOODING = "127.0.0.2"
DRIP_SECONDS, WATCH_SECONDS = 3.0, 18.0
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
"""What a slow connection of each kind sends at first, and then every `DRIP_SECONDS`."""


async def _hold(port: int, source: str, first: str, again: str, stop: asyncio.Event, opened: asyncio.Semaphore) -> None:
    """Open a connection, send the first bytes, and send more every few seconds until the server closes the connection."""
    _, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0), limit=1 << 12)
    opened.release()
    with suppress(OSError):
        writer.write(first.encode())
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), DRIP_SECONDS)
            writer.write(again.encode())
            await writer.drain()
    writer.transport.abort()


async def _attack(port: int, token: str, stop: asyncio.Event, opened: asyncio.Semaphore) -> None:
    """Hold all hostile connections until `stop` is set."""
    kinds = list(KINDS.values())
    holding = [_hold(port, FLOODING, "", "", stop, opened) for _ in range(SILENT)]
    for number in range(SLOW):
        first, again = kinds[number % len(kinds)]
        source = f"127.0.1.{1 + number % ADDRESSES}"
        holding.append(_hold(port, source, first.replace("{token}", token), again, stop, opened))
    await asyncio.gather(*holding)


def _hostile(service: Service) -> int:
    """Return how many connections of the attackers the server holds open."""
    found = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(1 for one in found if one.raddr and (one.raddr.ip == FLOODING or one.raddr.ip.startswith("127.0.1.")))


def run(service: Service, report: Report) -> None:
    """Attack the server, and check how others are served meanwhile and when the hostile connections are closed."""
    raise_descriptor_limit()
    report.section(
        f"{SILENT} silent connections from one address, {SLOW} slow ones of {len(KINDS)} kinds from {ADDRESSES}"
    )
    token = service.token("attacker")
    start = time.monotonic()
    with in_background(partial(_attack, service.port, token), SILENT + SLOW):
        with Probe.probing(service.port, "/benchmarks/bench") as others:
            flooded = []
            while time.monotonic() - start < WATCH_SECONDS:
                flooded += burst(service.port, [Request("/healthz")], source=FLOODING)
        report.line("connections that the server holds", str(_hostile(service)))
        report.check(f"other clients, 95 % of {len(others.answers)} views", others.quantile(0.95), SERVED_SECONDS)
        answered = sum(answer.status == OK for answer in flooded) / len(flooded)
        report.check("new connections of the flooding address, answered", answered, 1.0, "share", at_least=True)
        until(lambda: _hostile(service) == 0, "a server that has closed every hostile connection")
        report.check("all hostile connections are closed after", time.monotonic() - start, CLOSED_SECONDS)
