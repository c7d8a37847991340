"""The event loop that looks up host names in daemon threads."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from app.feedback.name_lookups import NameLookupLoop
from tests.app.service import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Coroutine


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a loop that has one thread for lookups, because the main thread may run a browser's event loop."""

    def run() -> None:
        with asyncio.Runner(loop_factory=partial(NameLookupLoop, 1)) as runner:
            runner.run(coroutine)

    with ThreadPoolExecutor(1) as executor:
        executor.submit(run).result()


def test_cancelled_lookup_occupies_its_thread_until_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    asked: SimpleQueue[str] = SimpleQueue()

    def answer(host: str, port: int, **hints: int) -> list[Any]:
        asked.put(host)
        if host == "silent.example":
            answered.wait()
        return [host, port, hints]

    async def look_up() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(loop.getaddrinfo("silent.example", 443))
        assert await asyncio.to_thread(asked.get, timeout=PATIENCE_SECONDS) == "silent.example"
        first.cancel()
        second = asyncio.create_task(loop.getaddrinfo("quick.example", 443, type=socket.SOCK_STREAM))
        await asyncio.wait([first])
        assert (first.cancelled(), second.done(), asked.empty()) == (True, False, True)
        answered.set()
        assert list(await second) == ["quick.example", 443, {"type": socket.SOCK_STREAM}]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    try:
        _run(look_up())
    finally:
        answered.set()


def test_error_of_a_lookup_is_raised_and_frees_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async def look_up() -> None:
        for _ in range(2):
            with pytest.raises(socket.gaierror, match="unknown"):
                await asyncio.get_running_loop().getaddrinfo("unknown.example", 443)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    _run(look_up())
