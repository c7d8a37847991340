"""The fork server: its environment, its imports, and the ground truth that it preloads."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from app.scoring.sandbox import client as client_module
from app.scoring.sandbox.client import Sandbox
from app.scoring.sandbox.truths import MAX_GROUND_TRUTHS
from ldsboard import ProblemError
from tests.app.benchmarks import Example, write_benchmark
from tests.app.processes import has_started, thread_count
from tests.app.sandbox.processes import PARTS, HangingScoring, Log, pid_of, preload, results_match
from tests.app.service import PATIENCE_SECONDS, ROOT, until
from tests.processes import stop


def _open_files(pid: int) -> list[str]:
    """Return the open files of a process except the standard streams."""
    files = []
    for path in (Path("/proc") / str(pid) / "fd").iterdir():
        if int(path.name) > 2:
            with contextlib.suppress(FileNotFoundError):  # the process closed it after the folder was listed
                files.append(str(path.readlink()).split(":", maxsplit=1)[0])
    return sorted(files)


def test_processes_inherit_no_settings_credentials_or_open_files(
    toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LDSBOARD_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "SECRET"):
        monkeypatch.setenv(name, "hunter2")
    sandbox = Sandbox()
    sandbox.start()
    try:
        # Two scoring processes, since the second could inherit files of the first.
        stuck = [HangingScoring(sandbox, toy.folder, scores.with_name(name)) for name in ("first", "second")]
        for pid in (pid_of(sandbox), stuck[0].child, stuck[1].child):
            environment = (Path("/proc") / str(pid) / "environ").read_bytes()
            assert b"hunter2" not in environment
            assert b"LDSBOARD_" not in environment
        # The kernel wakes the writer of a pipe before the reader has it open.
        expected = sorted(["socket", str(scores.with_name("second"))])
        until(lambda: _open_files(stuck[1].child) == expected, f"a child with nothing open but {expected}")
        for file in stuck:
            file.release()
        until(lambda: _open_files(pid_of(sandbox)) == ["socket"], "a fork server with nothing open but its socket")
    finally:
        sandbox.stop()


def test_fork_server_does_not_import_database_or_settings() -> None:
    program = "import sys, app.scoring.sandbox.fork_server; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    names = ended.stdout.split()
    assert "ldsboard.groundtruth" in names
    own_modules = {name for name in names if name.startswith("app.")}
    sandbox = ("", ".attributions", ".fork_server", ".heartbeat", ".lifeline", ".limits", ".scoring_process", ".truths")
    assert own_modules == {"app.errors", "app.scoring"} | {f"app.scoring.sandbox{name}" for name in sandbox}
    assert not {"sqlalchemy", "fastapi", "pydantic", "torch"} & set(names)


def test_ground_truth_is_preloaded_and_shared(stopped_sandbox: Sandbox, log: Log, toy: Example, scores: Path) -> None:
    log.start(stopped_sandbox)
    folder = scores.with_name("benchmark")
    shutil.copytree(toy.folder, folder)
    preload(stopped_sandbox, folder, log)
    shutil.rmtree(folder)
    for _ in range(2):
        assert results_match(stopped_sandbox.score(folder, scores, PARTS), toy)


def test_ground_truth_that_would_be_evicted_is_not_loaded(stopped_sandbox: Sandbox, log: Log, tmp_path: Path) -> None:
    log.start(stopped_sandbox)
    until(lambda: has_started(pid_of(stopped_sandbox)), "a started fork server")
    stop(pid_of(stopped_sandbox))
    # The second request makes the first folder the newest.
    for i in [*range(MAX_GROUND_TRUTHS), 0, MAX_GROUND_TRUTHS]:
        stopped_sandbox.preload(tmp_path / f"missing-{i}")
    os.kill(pid_of(stopped_sandbox), signal.SIGCONT)
    seen = log.until(f"{tmp_path / f'missing-{MAX_GROUND_TRUTHS}'} could")
    tried = [i for i in range(MAX_GROUND_TRUTHS + 1) if f"{tmp_path / f'missing-{i}'} could not be preloaded" in seen]
    assert tried == [0, *range(2, MAX_GROUND_TRUTHS + 1)]


def test_preload_neither_starts_nor_waits_for_the_fork_server(
    stopped_sandbox: Sandbox, toy: Example, scores: Path
) -> None:
    stopped_sandbox.preload(toy.folder)
    assert (stopped_sandbox.pid,) == (None,)
    stopped_sandbox.start()
    server_pid = pid_of(stopped_sandbox)
    stopped_sandbox.start()
    assert stopped_sandbox.pid == server_pid
    stop(server_pid)

    def prepare_often() -> None:
        for _ in range(1000):
            stopped_sandbox.preload(toy.folder)

    waiting = threading.Thread(target=prepare_often)
    waiting.start()
    waiting.join(PATIENCE_SECONDS)
    done = not waiting.is_alive()
    os.kill(server_pid, signal.SIGCONT)
    assert done
    assert results_match(stopped_sandbox.score(toy.folder, scores, PARTS), toy)
    assert stopped_sandbox.stop() == 0


def test_scoring_process_imports_nothing(
    stopped_sandbox: Sandbox, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python logs every import. COVERAGE_PROCESS_CONFIG is not inherited, since coverage itself would import modules.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    monkeypatch.setattr(client_module, "INHERITED_VARIABLES", ("PYTHONPROFILEIMPORTTIME",))
    large = write_benchmark(tmp_path, n=2000, N=200)  # enough work for several threads
    np.save(tmp_path / "scores.npy", large.scores())
    np.save(tmp_path / "bad.npy", np.full_like(large.scores(), np.nan))
    log.start(stopped_sandbox)
    assert "import time:" in preload(stopped_sandbox, large.folder, log)
    np.savez_compressed(tmp_path / "scores.npz", large.scores())
    for name in ("scores.npy", "scores.npz"):
        stopped_sandbox.score(large.folder, tmp_path / name, PARTS)
    with pytest.raises(ProblemError, match="400000 NaN"):
        stopped_sandbox.score(large.folder, tmp_path / "bad.npy", PARTS)
    assert "import time:" not in log.new()


def test_fork_server_has_one_thread(stopped_sandbox: Sandbox, log: Log, toy: Example, scores: Path) -> None:
    log.start(stopped_sandbox)
    preload(stopped_sandbox, toy.folder, log)
    assert thread_count(pid_of(stopped_sandbox)) == 1
    assert results_match(stopped_sandbox.score(toy.folder, scores, PARTS), toy)
    assert thread_count(pid_of(stopped_sandbox)) == 1
