"""Uploads: hundreds of slow uploads and many compressed bodies that would inflate to gigabytes, at the same time."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import httpx
import numpy as np
import psutil
import zstandard

from tests.app.benchmarks import write_benchmark
from tests.app.service import PATIENCE_SECONDS, Service, npy
from tests.siege.clients import HOST, in_background

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.siege.report import Report

N_TRAIN, TARGETS = 5000, 2000
FILE_BYTES = 128 + 4 * N_TRAIN * TARGETS
SLOW, INFLATING, PER_USER, RATE_BYTES = 200, 50, 10, 64 * 1024
INFLATED_BYTES = 1 << 30
WATCH_SECONDS, ROUNDS = 15.0, 3
MEMORY_MIB, SLOWDOWN, DECODED_AT_ONCE = 128.0, 3.0, 8


def bomb() -> bytes:
    """Return a compressed body with a true header that inflates to far more than the header states."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (N_TRAIN, TARGETS)})
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    zeros = bytes(1 << 20)
    pieces = [compressor.compress(header.getvalue())]
    pieces += [compressor.compress(zeros) for _ in range(INFLATED_BYTES >> 20)]
    return b"".join([*pieces, compressor.flush()])


def _head(token: str, length: int, *headers: str) -> bytes:
    lines = ["PUT /api/v1/benchmarks/wide/submissions?method=siege&kind=practice HTTP/1.1", "Host: localhost"]
    lines += [f"Authorization: Bearer {token}", f"Content-Length: {length}", *headers]
    return "\r\n".join((*lines, "", "")).encode()


async def _send_slowly(port: int, token: str, start: bytes, stop: asyncio.Event, opened: asyncio.Semaphore) -> None:
    """Send a file at a constant rate until `stop` is set."""
    _, writer = await asyncio.open_connection(HOST, port)
    writer.write(_head(token, FILE_BYTES) + start)
    opened.release()
    with suppress(OSError):
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1)
            writer.write(bytes(RATE_BYTES))
            await writer.drain()
    writer.transport.abort()


async def _inflate(port: int, token: str, body: bytes, stop: asyncio.Event, opened: asyncio.Semaphore) -> None:
    """Send the compressed body again and again until `stop` is set."""
    opened.release()
    while not stop.is_set():
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(_head(token, len(body), "Content-Encoding: zstd", "Connection: close") + body)
            ended = asyncio.ensure_future(stop.wait())
            await asyncio.wait([asyncio.ensure_future(reader.read()), ended], return_when=asyncio.FIRST_COMPLETED)
            writer.transport.abort()


async def _attack(
    port: int, tokens: Sequence[str], start: bytes, body: bytes, stop: asyncio.Event, opened: asyncio.Semaphore
) -> None:
    slow = [_send_slowly(port, tokens[i // PER_USER], start, stop, opened) for i in range(SLOW)]
    inflating = [_inflate(port, tokens[-1 - i // PER_USER], body, stop, opened) for i in range(INFLATING)]
    await asyncio.gather(*slow, *inflating)


class _Watch:
    """The largest memory of a server, and the most temporary bytes, that were seen during a block."""

    def __init__(self, service: Service) -> None:
        self._process = psutil.Process(service.process.pid)
        self._arriving = service.settings.storage_dir
        self.memory = self.temporary = 0

    def look(self) -> None:
        """Look once."""
        now = self._process.memory_info()
        self.memory = max(self.memory, now.rss - now.shared)  # without the pages of mapped files
        sizes = []
        for path in self._arriving.rglob("*"):
            with suppress(OSError):
                sizes.append(path.stat().st_size)
        self.temporary = max(self.temporary, sum(sizes))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look ten times a second during the block."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                self.look()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _upload(service: Service, token: str, content: bytes) -> float:
    """Return the seconds of an upload that is not scored, from its first byte to the answer."""
    start = time.perf_counter()
    answer = httpx.put(
        f"{service.url}/api/v1/benchmarks/wide/submissions",
        params={"method": "ours", "dry_run": "true"},
        headers={"Authorization": f"Bearer {token}"},
        content=content,
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )
    answer.raise_for_status()
    return time.perf_counter() - start


def run(folder: Path, report: Report) -> None:
    """Attack a server of its own, and check memory, temporary bytes, and an upload of another user."""
    report.section(f"{SLOW} uploads of {RATE_BYTES >> 10} KiB/s and {INFLATING} inflating bodies")
    (folder / "uploads").mkdir()
    example = write_benchmark(folder / "uploads", "wide", n=N_TRAIN, N=TARGETS, public=20, ranking=100)
    content = npy(np.random.default_rng(0).normal(size=(N_TRAIN, TARGETS)).astype(np.float32))
    with Service(folder / "uploads" / "service", bytes_per_user=0) as service:
        service.publish(example.folder)
        tokens = [service.token(f"user-{number}") for number in range((SLOW + INFLATING) // PER_USER)]
        other, body = service.token("other"), bomb()
        quiet = min(_upload(service, other, content) for _ in range(ROUNDS))
        watch = _Watch(service)
        watch.look()
        memory_before, watch.temporary = watch.memory, 0
        attack = partial(_attack, service.port, tokens, content[: 1 << 16], body)
        with watch.watching(), in_background(attack, SLOW + INFLATING):
            start, times = time.monotonic(), []
            while time.monotonic() - start < WATCH_SECONDS:
                times.append(_upload(service, other, content))
        report.line("the inflating body", f"{len(body)} bytes, {INFLATED_BYTES >> 20} MiB inflated")
        report.check(
            "memory of the server, more than before", (watch.memory - memory_before) / 2**20, MEMORY_MIB, "MiB"
        )
        sent = SLOW * RATE_BYTES * (WATCH_SECONDS + 10)
        bound = sent + (DECODED_AT_ONCE + 1) * FILE_BYTES
        report.check("temporary bytes", watch.temporary / 2**20, bound / 2**20, "MiB")
        report.check(
            f"median of {len(times)} uploads of 40 MB ({quiet:.2f} s alone)", float(np.median(times)), SLOWDOWN * quiet
        )
