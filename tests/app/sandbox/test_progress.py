"""The progress that scoring processes report: real fractions, and what a hostile process may send in their place."""

from __future__ import annotations

import math
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from app.errors import SandboxError
from app.scoring.sandbox import heartbeat
from app.scoring.sandbox.heartbeat import FRACTION, LENGTH, LongMessageError, Receiver, beating, send
from tests.app.sandbox.altered import SEND_FILE_INSTEAD_OF_ANSWER, Gate, alter_fork_servers
from tests.app.sandbox.processes import PARTS, pid_of, results_match
from tests.app.service import PATIENCE_SECONDS, until
from tests.processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox
    from tests.app.benchmarks import Example

TARGETS = 7
"""Number of targets of the benchmark `toy`."""

NO_FRACTIONS = [math.nan, math.inf, -math.inf, -0.5, 0.0, -0.0, 1.0000001, 5e300]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Receiver]]:
    sender, receiving_end = socket.socketpair()
    with sender, receiving_end:
        yield sender, Receiver(receiving_end.fileno())


def test_scoring_process_reports_each_scored_target(
    stopped_sandbox: Sandbox, toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    with ThreadPoolExecutor(1) as pool, Gate(scores.with_name("gate"), monkeypatch) as gate:
        result = pool.submit(stopped_sandbox.score, toy.folder, scores, PARTS, None, seen.append)
        for done in range(1, TARGETS):
            gate.let_through()
            until(lambda: done / TARGETS in seen, f"the report of {done} targets")  # noqa: B023 -- called at once
        gate.let_through()
        assert results_match(result.result(PATIENCE_SECONDS), toy)
    assert seen == sorted(seen)
    assert set(seen) <= {done / TARGETS for done in range(1, TARGETS + 1)}


def test_each_heartbeat_carries_the_newest_fraction(
    pair: tuple[socket.socket, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    sender, receiver = pair
    seen: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(receiver.receive, seen.append)
        with beating(sender.fileno()) as report:
            for fraction in (0.25, 0.5, 1.0):
                report(fraction)
                until(lambda: fraction in seen, f"the fraction {fraction}")  # noqa: B023 -- called at once
        send(sender.fileno(), b"an answer")
        assert answer.result(PATIENCE_SECONDS) == b"an answer"
    assert list(dict.fromkeys(seen)) == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("number", NO_FRACTIONS)
def test_numbers_that_are_no_fraction_are_dropped(pair: tuple[socket.socket, Receiver], number: float) -> None:
    sender, receiver = pair
    seen: list[float] = []
    for message in (FRACTION.pack(number), FRACTION.pack(0.5), b"an answer"):
        send(sender.fileno(), message)
    assert receiver.receive(seen.append) == b"an answer"
    assert seen == [0.5]


def test_fractions_are_skipped_without_a_function(pair: tuple[socket.socket, Receiver]) -> None:
    sender, receiver = pair
    for message in (FRACTION.pack(0.5), b"", b"an answer"):
        send(sender.fileno(), message)
    assert receiver.receive() == b"an answer"


@pytest.mark.parametrize("length", [heartbeat.MAX_MESSAGE_BYTES + 1, 2**32 - 1])
def test_content_of_a_message_that_is_too_long_is_not_read(pair: tuple[socket.socket, Receiver], length: int) -> None:
    sender, receiver = pair
    sender.sendall(LENGTH.pack(length) + b"the first words")
    with pytest.raises(LongMessageError):
        receiver.receive()
    assert os.read(receiver._descriptor, 100) == b"the first words"


def test_message_of_the_largest_size_is_read(pair: tuple[socket.socket, Receiver]) -> None:
    sender, receiver = pair
    for size in (100, 101):
        send(sender.fileno(), b"x" * size)
    assert receiver.receive(largest=100) == b"x" * 100
    with pytest.raises(LongMessageError):
        receiver.receive(largest=100)


def test_flood_and_long_message_of_a_hostile_process_end_as_a_server_error(
    stopped_sandbox: Sandbox, toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = scores.with_name("hostile")
    flood = [FRACTION.pack(number) for number in [*NO_FRACTIONS, 0.75, 0.25] * 5000]
    hostile.write_bytes(b"".join(LENGTH.pack(len(message)) + message for message in flood) + LENGTH.pack(2**32 - 1))
    alter_fork_servers(monkeypatch, SEND_FILE_INSTEAD_OF_ANSWER, hostile)
    seen: list[float] = []
    with pytest.raises(SandboxError, match="sent a message that is too long and was killed"):
        stopped_sandbox.score(toy.folder, hostile, PARTS, None, seen.append)
    assert seen == [0.75, 0.25] * 5000  # a ProgressRecord saves few of them
    until(lambda: not children(pid_of(stopped_sandbox)), "the end of the hostile process")
    assert results_match(stopped_sandbox.score(toy.folder, scores, PARTS), toy)
