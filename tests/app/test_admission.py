"""Turns of the requests that hold a database session."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import BusyError
from app.web import admission
from app.web.admission import Admission
from tests.app.event_loop import run_in_loop


def test_requests_take_turns_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "READERS", 2)
    began, running, most = [], 0, 0

    async def run() -> None:
        turns = Admission()

        async def request(number: int) -> None:
            nonlocal running, most
            async with turns.turn():
                began.append(number)
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(request(number) for number in range(20)))

    run_in_loop(run())
    assert (began, most) == (list(range(20)), 2)


@pytest.mark.parametrize("write", [False, True])
def test_request_without_a_turn_is_rejected_with_a_time_to_retry(
    monkeypatch: pytest.MonkeyPatch, *, write: bool
) -> None:
    monkeypatch.setattr(admission, "READERS", 1)
    monkeypatch.setattr(admission, "WRITERS", 1)
    monkeypatch.setattr(admission, "WAIT_SECONDS", 0.01)

    async def run() -> None:
        turns = Admission()
        async with turns.turn(write=write):
            with pytest.raises(BusyError) as caught:
                async with turns.turn(write=write):
                    pass
            assert caught.value.retry_after
            async with turns.turn(write=not write):  # readers and writers do not wait for each other
                pass
        async with turns.turn(write=write):  # the rejected request holds nothing
            pass

    run_in_loop(run())


def test_failed_request_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "READERS", 1)

    async def run() -> None:
        turns = Admission()
        for _ in range(3):
            with pytest.raises(ValueError, match="failed"):
                async with turns.turn():
                    raise ValueError("failed")

    run_in_loop(run())
