"""Clients that send many simultaneous requests, and a client in another process that measures response times meanwhile."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from multiprocessing.connection import Connection

HOST = "127.0.0.1"
PATIENCE_SECONDS = 60.0
OK = 200


class Answer(NamedTuple):
    """The status of a response, 0 if there was none, and the seconds from sending the request to the end of the response."""

    status: int
    seconds: float


class Request(NamedTuple):
    """A request, sent on its own connection."""

    path: str
    method: str = "GET"
    headers: tuple[str, ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", "Connection: close", *self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join((*lines, "", "")).encode() + self.body


def burst(port: int, requests: Iterable[Request], source: str = HOST) -> list[Answer]:
    """Open a connection for every request, then send all requests at the same moment and read all responses."""
    return run_in_loop(_burst(port, [request.encode() for request in requests], source))


async def _burst(port: int, requests: list[bytes], source: str) -> list[Answer]:
    gate = asyncio.Event()
    opened = asyncio.Semaphore(0)

    async def send(request: bytes) -> Answer:
        reader, writer = await asyncio.open_connection(HOST, port, local_addr=(source, 0))
        opened.release()
        await gate.wait()
        start, status = time.perf_counter(), 0
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                writer.write(request)
                status_line = await reader.readline()
                while await reader.read(1 << 18):
                    pass
            status = int(status_line.split()[1]) if status_line else 0
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()
        return Answer(status, time.perf_counter() - start)

    tasks = [asyncio.ensure_future(send(request)) for request in requests]
    for _ in tasks:
        await opened.acquire()
    gate.set()
    return await asyncio.gather(*tasks)


@contextmanager
def in_background(
    attack: Callable[[asyncio.Event, asyncio.Semaphore], Coroutine[Any, Any, None]], opened: int
) -> Iterator[None]:
    """Run an attack in a thread during the block.

    Parameters
    ----------
    attack
        Is called with an event that is set at the end of the block, and a semaphore to release for each open connection.
    opened
        The block begins when the semaphore was released this often.
    """
    loop, stop, semaphore = asyncio.new_event_loop(), asyncio.Event(), asyncio.Semaphore(0)

    async def wait() -> None:
        for _ in range(opened):
            await semaphore.acquire()

    task: asyncio.Task[None] = loop.create_task(attack(stop, semaphore))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(wait(), loop).result(PATIENCE_SECONDS)
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        asyncio.run_coroutine_threadsafe(asyncio.wait([task]), loop).result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _probe(port: int, path: str, source: str, pause: float, stop: Connection) -> None:
    """Request a path again and again, on a new connection each time, until told to stop; send back all answers."""
    answers: list[Answer] = []
    stop.send("ready")
    while not stop.poll(pause) or not answers:
        start, status = time.perf_counter(), 0
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS, source_address=(source, 0))
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        answers.append(Answer(status, time.perf_counter() - start))
    stop.send(answers)


class Probe:
    """The answers that another process receives to repeated requests for a path during the block of `probing`."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    @classmethod
    @contextmanager
    def probing(cls, port: int, path: str, *, source: str = "127.0.0.9", pause: float = 0.02) -> Iterator[Self]:
        """Request a path repeatedly during the block, from one source address, with pauses of `pause` seconds."""
        probe = cls()
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_probe, args=(port, path, source, pause, theirs))
        process.start()
        ours.recv()
        try:
            yield probe
        finally:
            ours.send(None)
            probe.answers = ours.recv()
            process.join()

    @property
    def worst(self) -> float:
        """Seconds of the slowest answer; infinity if a request was not answered with 200."""
        return max((answer.seconds if answer.status == OK else float("inf")) for answer in self.answers)

    def quantile(self, share: float) -> float:
        """Return the seconds within which a share of the requests was answered with 200."""
        times = sorted(answer.seconds if answer.status == OK else float("inf") for answer in self.answers)
        return times[min(len(times) - 1, int(share * len(times)))]
