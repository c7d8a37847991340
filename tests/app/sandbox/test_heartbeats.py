"""Heartbeats: stopped processes are killed and replaced, and processes that work for a long time are left alone."""

from __future__ import annotations

import hashlib
import os
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from app.errors import SandboxError
from app.scoring.sandbox import heartbeat
from app.scoring.sandbox.client import Sandbox
from app.scoring.sandbox.heartbeat import HeartbeatError, Receiver, beat, beating, send
from ldsboard import ProblemError
from tests.app.sandbox.processes import PARTS, HangingScoring, open_for_writing, pid_of, results_match
from tests.app.service import PATIENCE_SECONDS, until
from tests.processes import alive, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example

KILLED = "The scoring process sent no heartbeats and was killed."


@pytest.fixture
def few_beats(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let the service kill a process after four missing heartbeats; return this number."""
    monkeypatch.setattr(heartbeat, "LATE_BEATS", 2)
    monkeypatch.setattr(heartbeat, "LOST_BEATS", 4)
    return heartbeat.LOST_BEATS


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Counter[Receiver]:
    """Return how often each receiver has received bytes."""
    counts: Counter[Receiver] = Counter()
    wait = Receiver._wait

    def count(receiver: Receiver) -> None:
        wait(receiver)
        counts[receiver] += 1

    monkeypatch.setattr(Receiver, "_wait", count)
    return counts


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, Receiver]]:
    """A socket for messages, and the receiver of the messages; a heartbeat is due every ten milliseconds."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    sender, receiving_end = socket.socketpair()
    with sender, receiving_end:
        yield sender, Receiver(receiving_end.fileno())


def test_heartbeats_are_skipped_between_messages(connection: tuple[socket.socket, Receiver]) -> None:
    sender, receiver = connection
    beat(sender.fileno())
    send(sender.fileno(), b"an answer")
    beat(sender.fileno())
    send(sender.fileno(), b"more")
    assert (receiver.receive(), receiver.receive()) == (b"an answer", b"more")


def test_silence_within_a_message_is_noticed(connection: tuple[socket.socket, Receiver]) -> None:
    sender, receiver = connection
    sender.sendall(heartbeat.LENGTH.pack(100) + b"the first words")
    with pytest.raises(HeartbeatError):
        receiver.receive()
    assert receiver.late


def test_late_process_is_on_time_again_after_a_message_or_its_end(connection: tuple[socket.socket, Receiver]) -> None:
    sender, receiver = connection
    for _ in range(2):
        with pytest.raises(HeartbeatError):
            receiver.receive()
        assert receiver.late
        send(sender.fileno(), b"an answer")
        assert receiver.receive() == b"an answer"
        assert not receiver.late
    with pytest.raises(HeartbeatError):
        receiver.receive()
    sender.close()
    with pytest.raises(EOFError):
        receiver.receive()
    assert not receiver.late


def test_starting_process_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.001)
    monkeypatch.setattr(heartbeat, "LOST_BEATS", 1)
    monkeypatch.setattr(heartbeat, "START_BEATS", 10**6)
    sender, receiving_end = socket.socketpair()
    with sender, receiving_end, ThreadPoolExecutor(1) as pool:
        receiver = Receiver(receiving_end.fileno(), starting=True)
        answer = pool.submit(receiver.receive)
        until(lambda: receiver.late, "a late process")
        send(sender.fileno(), b"an answer")
        assert answer.result(PATIENCE_SECONDS) == b"an answer"
        with pytest.raises(HeartbeatError):
            receiver.receive()


def test_heartbeats_are_sent_during_a_computation_in_compiled_code(
    connection: tuple[socket.socket, Receiver],
) -> None:
    sender, receiver = connection
    with beating(sender.fileno()):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000)  # about a second without the interpreter lock
        assert os.read(receiver._descriptor, heartbeat.LENGTH.size) == heartbeat.LENGTH.pack(0)


@pytest.mark.usefixtures("few_beats")
def test_stopped_fork_server_is_replaced_and_logged_once(
    sandbox: Sandbox, toy: Example, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    stopped = pid_of(sandbox)
    assert not sandbox.is_restarting
    stop(stopped)
    until(lambda: sandbox.is_restarting, "a sandbox that reports the missing heartbeats")
    until(lambda: sandbox.pid not in {stopped, None}, "another fork server")
    until(lambda: not sandbox.is_restarting, "the first heartbeat of the new fork server")
    assert not alive(stopped)
    replacement = pid_of(sandbox)
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert sandbox.pid == replacement
    replaced = [line for line in capsys.readouterr().out.splitlines() if "fork_server.silent" in line]
    assert len(replaced) == 1
    assert "error" in replaced[0]
    assert str(stopped) in replaced[0]


@pytest.mark.usefixtures("few_beats")
def test_replaced_fork_server_is_watched_too(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    for _ in range(2):
        assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
        stopped = pid_of(sandbox)
        stop(stopped)
        until(lambda stopped=stopped: sandbox.pid not in {stopped, None}, "another fork server")  # type: ignore[misc]  # mypy cannot infer the default
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)


@pytest.mark.usefixtures("few_beats")
def test_stopped_fork_server_ends_requests_and_scoring_processes(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    stop(pid_of(sandbox))
    with pytest.raises(
        SandboxError, match="ended without an answer"
    ):  # the stopped fork server never reads this request
        sandbox.score(toy.folder, scores, PARTS)
    until(
        lambda: not alive(stuck.child), "the end of the scoring process"
    )  # released before, it would read an empty file
    assert isinstance(stuck.release(), SandboxError)
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)


@pytest.mark.usefixtures("few_beats")
def test_stopped_scoring_process_is_killed(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    server_pid, stuck = pid_of(sandbox), HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    stop(stuck.child)
    until(lambda: sandbox.is_restarting, "a sandbox that reports the missing heartbeats")
    assert str(stuck.result.exception(PATIENCE_SECONDS)) == KILLED
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    stuck.release()
    assert not sandbox.is_restarting
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert sandbox.pid == server_pid


@pytest.mark.usefixtures("few_beats")
def test_stopped_scoring_process_does_not_affect_another(toy: Example, scores: Path) -> None:
    sandbox = Sandbox(processes=2)
    sandbox.start()
    try:
        stopped, other = (HangingScoring(sandbox, toy.folder, scores.with_name(name)) for name in ("first", "second"))
        stop(stopped.child)
        until(lambda: any(receiver.late for receiver in list(sandbox._scoring)), "missing heartbeats")
        assert not sandbox.is_restarting  # the other process can score
        assert str(stopped.result.exception(PATIENCE_SECONDS)) == KILLED
        assert isinstance(other.release(), ProblemError)
        stopped.release()
    finally:
        sandbox.stop()


def test_long_evaluation_is_not_killed(
    few_beats: int, sandbox: Sandbox, toy: Example, scores: Path, received: Counter[Receiver]
) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    (receiver,) = sandbox._scoring
    until(lambda: received[receiver] > few_beats or stuck.result.done(), "more heartbeats than may be missing")
    assert alive(stuck.child)
    assert isinstance(stuck.release(), ProblemError)


def test_idle_fork_server_is_not_replaced(
    few_beats: int, sandbox: Sandbox, toy: Example, scores: Path, received: Counter[Receiver]
) -> None:
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    server = sandbox._server
    assert server is not None
    before = received[server.heartbeats]
    until(
        lambda: received[server.heartbeats] > before + few_beats or sandbox._server is not server,
        "more heartbeats than may be missing",
    )
    assert sandbox._server is server


def test_fork_server_is_not_replaced_while_it_loads_ground_truth(
    few_beats: int, sandbox: Sandbox, scores: Path, received: Counter[Receiver]
) -> None:
    manifest = scores.with_name("benchmark") / "public" / "benchmark.json"
    manifest.parent.mkdir(parents=True)
    os.mkfifo(manifest)
    server_pid = pid_of(sandbox)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(sandbox.score, manifest.parents[1], scores, PARTS)
        end = until(lambda: open_for_writing(manifest), "a fork server that reads the manifest")
        assert sandbox._server is not None
        receiver = sandbox._server.heartbeats
        before = received[receiver]
        until(lambda: received[receiver] > before + few_beats or result.done(), "more heartbeats than may be missing")
        assert sandbox.pid == server_pid
        os.close(end)

        def failed() -> bool:
            """Let the scoring process, which loads the ground truth again, read an empty manifest too."""
            if (again := open_for_writing(manifest)) is not None:
                os.close(again)
            return result.done()

        until(failed, "a failed evaluation")
        with pytest.raises(SandboxError, match="exit status 1"):
            result.result()
    assert sandbox.pid == server_pid
