"""The scoring process: what it is given, what it can see, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.errors import SandboxError
from app.sandbox import scorer as scorer_module
from app.sandbox.scorer import Scorer
from ldsboard import ProblemError
from tests.app.processes import alive, begun, stop
from tests.app.service import PATIENCE_SECONDS, ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

PARTS = ["public", "ranking"]


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    ready = Scorer()
    ready.start()
    yield ready
    ready.stop()


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path


def _pid(scorer: Scorer) -> int:
    assert scorer.pid is not None
    return scorer.pid


def test_a_result_keeps_its_bits_on_the_way(scorer: Scorer, toy: Example, scores: Path) -> None:
    for _ in range(2):
        found = scorer.score(toy.folder, scores, PARTS)
        for part, result in toy.offline(toy.scores()).items():
            assert found[part].influence.tobytes() == result.influence.tobytes()
            assert found[part].per_target.tobytes() == result.per_target.tobytes()
            assert found[part].numbers["lds"] == result.lds
            assert (found[part].numbers["ci_low"], found[part].numbers["ci_high"]) == result.confidence_interval
            assert found[part].numbers["warnings"] == result.warnings


def test_a_process_that_met_a_bad_file_is_replaced(scorer: Scorer, toy: Example, scores: Path) -> None:
    first = _pid(scorer)
    bad = scores.with_name("bad.npy")
    np.save(bad, np.full_like(toy.scores(), np.nan))
    with pytest.raises(ProblemError) as raised:
        scorer.score(toy.folder, bad, PARTS)
    assert raised.value.problem.code == "scores.nonfinite"
    assert scorer.pid is None
    assert not alive(first)
    assert scorer.score(toy.folder, scores, PARTS)
    assert scorer.pid != first


def test_a_process_that_dies_is_reported_and_replaced(scorer: Scorer, toy: Example, scores: Path) -> None:
    os.kill(_pid(scorer), signal.SIGKILL)
    with pytest.raises(SandboxError, match="ended with status -9 before it answered"):
        scorer.score(toy.folder, scores, PARTS)
    assert scorer.score(toy.folder, scores, PARTS)


def test_a_missing_benchmark_is_our_failure_and_is_told_in_full(
    toy: Example, scores: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scorer = Scorer()
    with pytest.raises(SandboxError, match="ended with status 1 before it answered"):
        scorer.score(toy.folder / "nothing", scores, PARTS)
    assert "BundleError: expected a benchmark manifest" in capfd.readouterr().err


def test_a_process_ends_by_itself_when_its_pipe_closes(scorer: Scorer) -> None:
    pid = _pid(scorer)
    assert scorer.stop() == 0
    assert not alive(pid)
    assert scorer.stop() is None


def test_a_process_that_does_not_end_is_killed(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "GRACE_SECONDS", 0.05)
    stop(_pid(scorer))
    assert scorer.stop() == -signal.SIGKILL


def test_it_is_given_no_settings_no_credentials_and_no_open_files(
    toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LDSBOARD_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "SECRET"):
        monkeypatch.setenv(name, "hunter2")
    scorer = Scorer()
    scorer.start()
    try:
        scorer.score(toy.folder, scores, PARTS)
        process = Path("/proc") / str(_pid(scorer))
        environment = (process / "environ").read_bytes()
        assert b"hunter2" not in environment
        assert b"LDSBOARD_" not in environment
        open_files = [path.readlink() for path in (process / "fd").iterdir() if int(path.name) > 2]
    finally:
        scorer.stop()
    kinds = sorted(str(path).split(":", maxsplit=1)[0] for path in open_files)
    assert kinds == ["socket"]


def test_it_knows_neither_the_database_nor_the_settings() -> None:
    program = "import sys, app.sandbox.child; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = ended.stdout.split()
    assert "ldsboard.groundtruth" in modules
    assert [name for name in modules if name.startswith("app.")] == ["app.sandbox", "app.sandbox.child"]
    assert not {"sqlalchemy", "fastapi", "pydantic", "torch"} & set(modules)


def test_it_outlives_the_interrupt_of_a_terminal(scorer: Scorer, toy: Example, scores: Path) -> None:
    scorer.score(toy.folder, scores, PARTS)
    os.kill(_pid(scorer), signal.SIGINT)
    assert scorer.score(toy.folder, scores, PARTS)
    assert scorer.stop() == 0


def test_it_does_not_begin_for_a_parent_that_is_gone() -> None:
    ours, theirs = Pipe()
    command = [sys.executable, "-m", "app.sandbox", str(theirs.fileno()), "1"]
    with subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()]) as process:
        assert process.wait(PATIENCE_SECONDS) == 1
    ours.close()
    theirs.close()


def test_it_answers_in_json_and_arrays_until_its_pipe_closes(toy: Example, scores: Path) -> None:
    """As `Scorer` speaks with it, but with this process's environment, so that its coverage is measured."""
    bad = scores.with_name("bad.npy")
    bad.write_bytes(scores.read_bytes()[:-1])
    ours, theirs = Pipe()
    command = [sys.executable, "-m", "app.sandbox", str(theirs.fileno()), str(os.getpid())]
    with subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()]) as process, ours:
        theirs.close()
        request = {"benchmark": str(toy.folder), "scores": str(scores), "parts": ["public"]}
        ours.send_bytes(json.dumps(request).encode())
        answer = json.loads(ours.recv_bytes())
        assert set(answer["parts"]) == {"public"}
        with np.load(io.BytesIO(ours.recv_bytes())) as arrays:
            assert set(arrays) == {"public.influence", "public.per_target"}
        ours.send_bytes(json.dumps(request | {"scores": str(bad)}).encode())
        assert json.loads(ours.recv_bytes())["problem"]["code"] == "scores.truncated"
        ours.close()
        assert process.wait(PATIENCE_SECONDS) == 0


PARENT = """
import sys
from app.sandbox.scorer import Scorer

scorer = Scorer()
scorer.start()
print(scorer.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_it_dies_with_its_parent_even_while_it_is_stopped(stopped: bool) -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        until(lambda: begun(child), "a process that has begun")
        if stopped:
            stop(child)
        parent.kill()
    until(lambda: not alive(child), "the end of the scoring process")
