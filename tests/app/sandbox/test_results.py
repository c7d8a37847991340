"""Results of the sandbox: exact measurements, a problem with the file, or a server error."""

from __future__ import annotations

import errno
import os
import signal
from multiprocessing import Pipe
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.errors import SandboxError
from app.scoring.sandbox import client as client_module
from app.scoring.sandbox import scoring_process
from app.scoring.sandbox.fork_server import ForkServer
from ldsboard import ProblemError
from tests.app.benchmarks import Example, write_benchmark
from tests.app.sandbox.processes import PARTS, HangingScoring, Log, pid_of, results_match
from tests.app.service import until
from tests.processes import alive, children

if TYPE_CHECKING:
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox


def test_result_is_transferred_bit_for_bit(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    for _ in range(2):
        assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)


def test_long_result_is_transferred_completely(sandbox: Sandbox, tmp_path: Path) -> None:
    wide = write_benchmark(tmp_path, n=30, N=40_000, public=20, ranking=20)
    np.save(tmp_path / "scores.npy", wide.scores())
    found = sandbox.score(wide.folder, tmp_path / "scores.npy", PARTS)
    assert found["ranking"].per_target.size == 40_000


def test_invalid_file_does_not_affect_the_fork_server(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    bad = scores.with_name("bad.npy")
    np.save(bad, np.full_like(toy.scores(), np.nan))
    server_pid = pid_of(sandbox)
    with pytest.raises(ProblemError) as raised:
        sandbox.score(toy.folder, bad, PARTS)
    assert raised.value.problem.code == "scores.nonfinite"
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert sandbox.pid == server_pid


def test_killed_scoring_process_is_reported_and_affects_no_other(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    server_pid = pid_of(sandbox)
    first, second = (HangingScoring(sandbox, toy.folder, scores.with_name(name)) for name in ("first", "second"))
    assert children(server_pid) == {first.child, second.child}
    os.kill(first.child, signal.SIGKILL)
    assert str(first.release()) == "The scoring process ended without an answer (exit status -9)."
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
    assert alive(second.child)
    assert isinstance(error := second.release(), ProblemError)
    assert error.problem.code == "scores.empty"
    until(lambda: not children(server_pid), "a fork server without children, dead ones included")
    assert sandbox.pid == server_pid


def test_missing_benchmark_is_a_server_error_and_is_logged(
    stopped_sandbox: Sandbox, log: Log, toy: Example, scores: Path
) -> None:
    log.start(stopped_sandbox)
    with pytest.raises(SandboxError, match=r"ended without an answer \(exit status 1\)"):
        stopped_sandbox.score(toy.folder / "nothing", scores, PARTS)
    assert "BundleError: Cannot read the benchmark manifest" in log.new()
    assert results_match(stopped_sandbox.score(toy.folder, scores, PARTS), toy)


def test_invalid_ground_truth_is_not_reported_as_a_file_problem(
    toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise ProblemError.mismatch(
            "margins.invalid", expected="margins that differ", got="equal ones", hint="Publish it again."
        )

    monkeypatch.setattr(scoring_process, "load_ground_truth", fail)
    local, remote = Pipe()
    with local, remote:
        request = {"benchmark": str(toy.folder), "scores": str(scores), "parts": PARTS, "threads": 1, "sha256": None}
        with pytest.raises(ProblemError, match="equal ones"):
            scoring_process.answer(request, remote)
        assert not local.poll(0)  # no answer was sent for the file


def test_failed_fork_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fork() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    local, remote = Pipe()
    status, status_writer = Pipe(duplex=False)
    with local, remote, status:
        ForkServer(None)._fork({}, remote, os.dup(status_writer.fileno()))  # type: ignore[arg-type]  # _fork uses no socket
        status_writer.close()
        assert client_module._exit_reason(status) == "exit status unknown"
    assert "no more processes" in capsys.readouterr().err
    assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_exhausted_file_descriptors_leave_the_fork_server_running(
    sandbox: Sandbox, toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*, duplex: bool = True) -> None:
        raise OSError(errno.EMFILE, f"none left (duplex {duplex})")

    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    server_pid = pid_of(sandbox)
    with monkeypatch.context() as shortage:
        shortage.setattr(client_module, "Pipe", none_left)
        with pytest.raises(OSError, match="none left"):
            sandbox.score(toy.folder, scores, PARTS)
    assert isinstance(stuck.release(), ProblemError)
    assert pid_of(sandbox) == server_pid
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
