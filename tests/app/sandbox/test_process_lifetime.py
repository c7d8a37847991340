"""When the fork server and the scoring processes end, and which signals they survive."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from multiprocessing import Pipe
from typing import TYPE_CHECKING

import pytest

from app.errors import SandboxError
from app.scoring.sandbox import client as client_module
from ldsboard import ProblemError
from tests.app.sandbox.processes import PARTS, HangingScoring, open_for_writing, pid_of, results_match
from tests.app.service import PATIENCE_SECONDS, ROOT, until
from tests.processes import alive, children, stop

if TYPE_CHECKING:
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox
    from tests.app.benchmarks import Example


def test_scoring_process_ends_when_its_connection_is_closed(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    pipe = scores.with_name("stuck")
    os.mkfifo(pipe)
    request = {"benchmark": str(toy.folder), "scores": str(pipe), "parts": PARTS, "threads": 1, "sha256": None}
    early, early_status = sandbox._request(request)
    end = until(lambda: open_for_writing(pipe), "a scoring process that reads")  # its setup is complete
    early.close()
    stop(pid_of(sandbox))
    late, late_status = sandbox._request(request)
    late.close()
    os.kill(pid_of(sandbox), signal.SIGCONT)
    with early_status, late_status:
        for status in (early_status, late_status):
            client_module._receive_number(status)  # the process id comes before the exit status
        assert client_module._exit_reason(early_status) == f"exit status {-signal.SIGIO}"
        assert client_module._exit_reason(late_status) == "exit status 1"
    os.close(end)


def test_dead_fork_server_is_replaced(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    server_pid = pid_of(sandbox)
    os.kill(server_pid, signal.SIGKILL)
    until(lambda: not alive(server_pid), "the end of the fork server")
    sandbox.preload(toy.folder)
    assert sandbox.pid == server_pid
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert sandbox.pid != server_pid


def test_killed_fork_server_ends_its_scoring_processes_and_is_replaced(
    sandbox: Sandbox, toy: Example, scores: Path
) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    os.kill(pid_of(sandbox), signal.SIGKILL)
    error = stuck.result.exception(PATIENCE_SECONDS)
    assert str(error) == "The scoring process ended without an answer (exit status unknown)."
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    stuck.release()
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)


def test_fork_server_and_scoring_processes_end_when_the_socket_closes(
    sandbox: Sandbox, toy: Example, scores: Path
) -> None:
    server_pid, stuck = pid_of(sandbox), HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    assert sandbox.stop() == 0
    assert not alive(server_pid)
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    assert isinstance(stuck.release(), SandboxError)
    assert sandbox.stop() is None


def test_fork_server_ends_quietly_when_the_socket_closes_with_unread_heartbeats() -> None:
    own_end, server_end = socket.socketpair()
    with own_end, server_end:
        command = [sys.executable, "-m", "app.scoring.sandbox", str(server_end.fileno()), str(os.getpid())]
        with subprocess.Popen(command, cwd=ROOT, pass_fds=[server_end.fileno()], stderr=subprocess.PIPE) as server:
            server_end.close()
            assert select.select([own_end], [], [], PATIENCE_SECONDS)[0]
            own_end.close()
            _, errors = server.communicate(timeout=PATIENCE_SECONDS)
    assert (server.returncode, errors) == (0, b"")


def test_fork_server_that_does_not_stop_is_killed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GRACE_SECONDS", 0.05)
    stop(pid_of(sandbox))
    assert sandbox.stop() == -signal.SIGKILL


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_fork_server_and_scoring_processes_ignore_group_signals(
    ending: signal.Signals, sandbox: Sandbox, toy: Example, scores: Path
) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    for pid in (pid_of(sandbox), stuck.child):
        os.kill(pid, ending)
    assert isinstance(stuck.release(), ProblemError)
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert sandbox.stop() == 0


def test_fork_server_does_not_start_without_its_parent() -> None:
    local, remote = Pipe()
    command = [sys.executable, "-m", "app.scoring.sandbox", str(remote.fileno()), "1"]
    with local, remote:
        ended = subprocess.run(command, cwd=ROOT, pass_fds=[remote.fileno()], timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 1


PARENT = """
import sys
from pathlib import Path
from app.scoring.sandbox.client import Sandbox

sandbox = Sandbox()
sandbox.start()
print(sandbox.pid, flush=True)
sandbox.score(Path(sys.argv[1]), Path(sys.argv[2]), ["public"])
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_fork_server_and_scoring_processes_die_with_the_service(toy: Example, scores: Path, stopped: bool) -> None:
    pipe = scores.with_name("stuck")
    os.mkfifo(pipe)
    command = [sys.executable, "-c", PARENT, str(toy.folder), str(pipe)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent, pipe.open("wb"):
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        (scoring,) = children(server_pid)
        if stopped:
            stop(server_pid)
            stop(scoring)
        parent.kill()
        until(lambda: not alive(server_pid) and not alive(scoring), "the end of both processes")
