"""Limits for the bodies that arrive at the same time, and for slow bodies."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.errors import BusyError
from app.submissions.folder_storage import FolderStorage
from app.web import body_limit, open_bodies, request_body
from app.web.body_limit import BodyLimit
from app.web.open_bodies import OpenBodies
from ldsboard import ProblemError
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


def test_bodies_of_one_user_are_limited() -> None:
    async def run() -> None:
        bodies = OpenBodies(per_user=2)
        async with AsyncExitStack() as arriving:
            for _ in range(2):
                await arriving.enter_async_context(bodies.slot(1, compressed=False))
            with pytest.raises(ProblemError, match="Your files that are arriving now: 2"):
                async with bodies.slot(1, compressed=False):
                    pass
            await arriving.enter_async_context(bodies.slot(2, compressed=False))
        async with bodies.slot(1, compressed=False):
            pass

    run_in_loop(run())


def test_bodies_of_all_users_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_bodies, "MAX_BODIES", 1)

    async def run() -> None:
        bodies = OpenBodies(per_user=0)
        async with bodies.slot(1, compressed=False):
            with pytest.raises(BusyError):
                async with bodies.slot(2, compressed=False):
                    pass

    run_in_loop(run())


def test_compressed_body_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_bodies, "COMPRESSED", 1)
    order = []

    async def run() -> None:
        bodies, first_may_end = OpenBodies(per_user=0), asyncio.Event()

        async def first() -> None:
            async with bodies.slot(1, compressed=True):
                await first_may_end.wait()
                order.append("first ends")

        async def second() -> None:
            async with bodies.slot(2, compressed=True):
                order.append("second begins")

        tasks = [asyncio.ensure_future(first()), asyncio.ensure_future(second())]
        async with bodies.slot(3, compressed=False):  # needs no turn
            first_may_end.set()
        await asyncio.gather(*tasks)

    run_in_loop(run())
    assert order == ["first ends", "second begins"]


def test_compressed_body_without_a_turn_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_bodies, "COMPRESSED", 1)
    monkeypatch.setattr(open_bodies, "INFLATE_WAIT_SECONDS", 0.01)

    async def run() -> None:
        bodies = OpenBodies(per_user=1)
        async with bodies.slot(1, compressed=True):
            with pytest.raises(BusyError, match="uncompressed"):
                async with bodies.slot(2, compressed=True):
                    pass
            async with bodies.slot(2, compressed=False):  # the rejected body is not counted any more
                pass

    run_in_loop(run())


def test_compressed_bodies_of_one_user_leave_turns_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_bodies, "INFLATE_WAIT_SECONDS", 1.0)
    turns = []

    async def run() -> None:
        bodies, may_end = OpenBodies(per_user=0), asyncio.Event()

        async def send() -> None:
            async with bodies.slot(1, compressed=True):
                turns.append(1)
                await may_end.wait()

        sending = [asyncio.ensure_future(send()) for _ in range(open_bodies.COMPRESSED)]
        await asyncio.sleep(0)
        try:
            async with bodies.slot(2, compressed=True):
                turns.append(2)
        finally:
            may_end.set()
            await asyncio.gather(*sending)

    run_in_loop(run())
    assert turns == [1, 1, 2, *[1] * (open_bodies.COMPRESSED - 2)]


def test_buffers_of_all_bodies_have_a_bound() -> None:
    async def run() -> None:
        bodies = OpenBodies(per_user=0)
        assert bodies.piece_bytes == open_bodies.MAX_PIECE_BYTES
        async with AsyncExitStack() as arriving:
            for number in range(64):
                await arriving.enter_async_context(bodies.slot(number, compressed=False))
                buffered = 2 * (number + 1) * bodies.piece_bytes
                assert buffered <= max(open_bodies.BUFFER_BYTES, 2 * (number + 1) * open_bodies.MIN_PIECE_BYTES)

    run_in_loop(run())


def test_body_that_drips_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "IDLE_TIMEOUT_SECONDS", 0.05)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read() -> None:
        with FolderStorage(tmp_path).receive() as arrival:
            request = Request({"type": "http", "headers": []}, receive)
            await request_body.Body(request, arrival, 10**9, 10**9, OpenBodies(0)).receive()

    with pytest.raises(ProblemError, match="ended early"):
        run_in_loop(read())


def test_small_body_that_does_not_arrive_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "BODY_SECONDS", 0.02)
    sent: list[MutableMapping[str, Any]] = []
    first = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await Response(body)(scope, receive, send)

    async def receive() -> MutableMapping[str, Any]:
        message = next(first, None)
        return await asyncio.Future() if message is None else message

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/v1/tokens", "headers": [], "query_string": b""}
    run_in_loop(BodyLimit(application)(scope, receive, send))
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"upload.interrupted" in sent[1]["body"]


def test_waiting_for_a_disconnect_after_a_complete_body_has_no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "BODY_SECONDS", 0.0)
    messages = iter((dict[str, Any](type="http.request", body=b""), dict[str, Any](type="http.disconnect")))
    seen: list[MutableMapping[str, Any]] = []

    async def application(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.extend([await receive(), await receive()])

    async def receive() -> MutableMapping[str, Any]:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await asyncio.sleep(0.01)
        return message

    async def send(_message: MutableMapping[str, Any]) -> None:
        raise AssertionError("expected no response")

    run_in_loop(BodyLimit(application)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    assert [message["type"] for message in seen] == ["http.request", "http.disconnect"]
