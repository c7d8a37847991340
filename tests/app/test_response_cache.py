"""The cache of public responses: what is kept, for how long, and for whom."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.responses import FileResponse, Response

from app.web import response_cache
from app.web.response_cache import ResponseCache
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Source:
    """A source of numbered responses, and the revision of the database that they are made from."""

    def __init__(self) -> None:
        self.revision = 1
        self.made = 0
        self.cache = ResponseCache(lambda: self.revision)

    async def make(self) -> Response:
        """Return the next response, after other tasks had a turn."""
        self.made += 1
        number = self.made
        await asyncio.sleep(0)
        return Response(f"{number}", headers={"x-number": str(number)})

    async def get(self, key: str = "/") -> bytes:
        """Return the body of the response for a key."""
        return bytes((await self.cache.respond(key, self.make)).body)


def test_response_is_made_once_for_each_key_and_revision() -> None:
    async def run() -> None:
        source = Source()
        assert [await source.get("/a"), await source.get("/a"), await source.get("/b")] == [b"1", b"1", b"2"]
        source.revision += 1
        assert [await source.get("/a"), await source.get("/a")] == [b"3", b"3"]

    run_in_loop(run())


def test_simultaneous_requests_share_one_response() -> None:
    async def run() -> None:
        source = Source()
        assert await asyncio.gather(*(source.get() for _ in range(50))) == [b"1"] * 50

    run_in_loop(run())


def test_request_after_a_change_does_not_get_a_response_that_was_begun_before() -> None:
    async def run() -> None:
        source = Source()
        early = asyncio.ensure_future(source.get())
        await asyncio.sleep(0)
        source.revision += 1
        late = await source.get()
        assert (await early, late, await source.get()) == (b"1", b"2", b"2")

    run_in_loop(run())


def test_headers_of_a_kept_response_can_be_changed_by_its_receivers() -> None:
    async def run() -> None:
        source = Source()
        first = await source.cache.respond("/", source.make)
        first.headers["x-number"] = "changed"
        assert (await source.cache.respond("/", source.make)).headers["x-number"] == "1"

    run_in_loop(run())


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda _: Response("gone", 404), id="error"),
        pytest.param(lambda _: Response("mine", headers={"Cache-Control": "no-store"}), id="personal"),
        pytest.param(lambda _: Response(bytes(response_cache.MAX_BODY_BYTES + 1)), id="large"),
        pytest.param(FileResponse, id="file"),
    ],
)
def test_response_that_may_not_be_shared_is_made_for_every_request(
    make: Callable[[Path], Response], tmp_path: Path
) -> None:
    async def run() -> None:
        made = []

        async def respond() -> Response:
            made.append(make(tmp_path / "file"))
            response = made[-1]
            await asyncio.sleep(0)
            return response

        cache = ResponseCache(lambda: 1)
        answers = await asyncio.gather(*(cache.respond("/", respond) for _ in range(3)))
        assert len({id(answer) for answer in answers}) == len(made) == 3

    run_in_loop(run())


def test_waiting_requests_survive_a_failed_or_cancelled_first_request() -> None:
    async def run(error: BaseException) -> None:
        source, calls = Source(), list[None]()

        async def fail_first() -> Response:
            calls.append(None)
            if len(calls) == 1:
                await asyncio.sleep(0)
                raise error
            return await source.make()

        first, second = (asyncio.ensure_future(source.cache.respond("/", fail_first)) for _ in range(2))
        with pytest.raises(type(error)):
            await first
        assert bytes((await second).body) == b"1"

    run_in_loop(run(ValueError("the first request failed")))
    run_in_loop(run(asyncio.CancelledError()))


def test_least_recently_used_responses_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "OVERHEAD_BYTES", 0)
    monkeypatch.setattr(response_cache, "MAX_BYTES", 2 * len("'/a'" + "1"))

    async def run() -> None:
        source = Source()
        for key in ("/a", "/b", "/a", "/c"):
            await source.get(key)
        assert [await source.get("/a"), await source.get("/c"), await source.get("/b")] == [b"1", b"3", b"4"]

    run_in_loop(run())


def test_long_keys_count_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_cache, "MAX_BYTES", 10_000)

    async def run() -> None:
        source = Source()
        for number in range(5):
            await source.get("/?" + str(number) * 4000)
        assert await source.get("/?" + "4" * 4000) == b"5"
        assert await source.get("/?" + "0" * 4000) == b"6"

    run_in_loop(run())


def test_responses_of_an_earlier_revision_are_dropped() -> None:
    async def run() -> None:
        source = Source()
        await source.get("/a")
        source.revision += 1
        await source.get("/b")
        assert list(source.cache._kept) == ["/b"]

    run_in_loop(run())
