"""The scoring processes: what they are given, what they can see, whom they disturb, and how they end."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.errors import SandboxError
from app.sandbox import child
from app.sandbox import scorer as scorer_module
from app.sandbox.forking import ForkServer
from app.sandbox.scorer import Scored, Scorer
from app.sandbox.truths import MOST_TRUTHS
from ldsboard import ProblemError
from tests.app.benchmarks import write_benchmark
from tests.app.processes import alive, begun, children, stop
from tests.app.service import PATIENCE_SECONDS, ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

PARTS = ["public", "ranking"]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorer]:
    """Not started: what it starts within a test writes to where the test captures."""
    monkeypatch.setattr(scorer_module, "PASSED_ON", (*scorer_module.PASSED_ON, "COVERAGE_PROCESS_CONFIG"))
    opened = Scorer()
    yield opened
    opened.stop()


@pytest.fixture
def scorer(idle: Scorer) -> Scorer:
    idle.start()
    return idle


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path


def writing_end(path: Path) -> int | None:
    """Return the end of a pipe to write to, once somebody reads it."""
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    return None


class Stuck:
    """A file that is being scored and does not end: a pipe with nothing in it."""

    def __init__(self, scorer: Scorer, benchmark: Path, path: Path) -> None:
        os.mkfifo(path)
        before = children(pid_of(scorer))
        self._pool = ThreadPoolExecutor(1)
        self.result: Future[dict[str, Scored]] = self._pool.submit(scorer.score, benchmark, path, PARTS)
        self._end: int | None = until(lambda: writing_end(path), "a scoring process that reads")
        (self.child,) = children(pid_of(scorer)) - before

    def let_go(self) -> ProblemError | SandboxError:
        """End the file, which is empty; return what was said of it."""
        if self._end is not None:
            os.close(self._end)
            self._end = None
        error = self.result.exception(PATIENCE_SECONDS)
        self._pool.shutdown()
        assert isinstance(error, ProblemError | SandboxError)
        return error


def pid_of(scorer: Scorer) -> int:
    assert scorer.pid is not None
    return scorer.pid


def are_right(found: dict[str, Scored], toy: Example) -> bool:
    return all(
        found[part].influence.tobytes() == result.influence.tobytes()
        and found[part].per_target.tobytes() == result.per_target.tobytes()
        and found[part].numbers["lds"] == result.lds
        and (found[part].numbers["ci_low"], found[part].numbers["ci_high"]) == result.confidence_interval
        and found[part].numbers["warnings"] == result.warnings
        for part, result in toy.offline(toy.scores()).items()
    )


def test_a_result_keeps_its_bits_on_the_way(scorer: Scorer, toy: Example, scores: Path) -> None:
    for _ in range(2):
        assert are_right(scorer.score(toy.folder, scores, PARTS), toy)


def test_a_long_answer_comes_whole(scorer: Scorer, tmp_path: Path) -> None:
    wide = write_benchmark(tmp_path, n=30, N=40_000, public=20, ranking=20)
    np.save(tmp_path / "scores.npy", wide.scores())
    found = scorer.score(wide.folder, tmp_path / "scores.npy", PARTS)
    assert found["ranking"].per_target.size == 40_000


def test_a_bad_file_harms_nobody(scorer: Scorer, toy: Example, scores: Path) -> None:
    bad = scores.with_name("bad.npy")
    np.save(bad, np.full_like(toy.scores(), np.nan))
    warm = pid_of(scorer)
    with pytest.raises(ProblemError) as raised:
        scorer.score(toy.folder, bad, PARTS)
    assert raised.value.problem.code == "scores.nonfinite"
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)
    assert scorer.pid == warm


def test_a_killed_child_is_reported_and_disturbs_neither_the_other_nor_the_next(
    scorer: Scorer, toy: Example, scores: Path
) -> None:
    warm = pid_of(scorer)
    first, second = (Stuck(scorer, toy.folder, scores.with_name(name)) for name in ("first", "second"))
    assert children(warm) == {first.child, second.child}
    os.kill(first.child, signal.SIGKILL)
    assert str(first.let_go()) == "the scoring process ended with status -9 before it answered"
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)
    assert alive(second.child)
    assert isinstance(said := second.let_go(), ProblemError)
    assert said.problem.code == "scores.empty"
    until(lambda: not children(warm), "a fork server without children, dead ones included")
    assert scorer.pid == warm


def test_a_dead_fork_server_is_replaced_unnoticed(scorer: Scorer, toy: Example, scores: Path) -> None:
    warm = pid_of(scorer)
    os.kill(warm, signal.SIGKILL)
    until(lambda: not alive(warm), "the end of the fork server")
    scorer.prepare(toy.folder)
    assert scorer.pid == warm
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)
    assert scorer.pid != warm


def test_a_fork_server_that_dies_takes_its_children_along_and_is_replaced(
    scorer: Scorer, toy: Example, scores: Path
) -> None:
    stuck = Stuck(scorer, toy.folder, scores.with_name("stuck"))
    os.kill(pid_of(scorer), signal.SIGKILL)
    error = stuck.result.exception(PATIENCE_SECONDS)
    assert str(error) == "the scoring process ended without a status before it answered"
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    stuck.let_go()
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)


def test_a_child_ends_when_nobody_waits_for_its_answer(scorer: Scorer, toy: Example, scores: Path) -> None:
    pipe = scores.with_name("stuck")
    os.mkfifo(pipe)
    request = {"benchmark": str(toy.folder), "scores": str(pipe), "parts": PARTS, "threads": 1}
    early, told_early = scorer._ask(request)
    end = until(lambda: writing_end(pipe), "a scoring process that reads")  # and so has done all that comes before
    early.close()
    stop(pid_of(scorer))
    late, told_late = scorer._ask(request)
    late.close()
    os.kill(pid_of(scorer), signal.SIGCONT)
    with told_early, told_late:
        assert scorer_module._ending(told_early) == f"with status {-signal.SIGIO}"
        assert scorer_module._ending(told_late) == "with status 1"
    os.close(end)


def test_a_missing_benchmark_is_our_failure_and_is_told_in_full(
    idle: Scorer, capfd: pytest.CaptureFixture[str], toy: Example, scores: Path
) -> None:
    with pytest.raises(SandboxError, match="ended with status 1 before it answered"):
        idle.score(toy.folder / "nothing", scores, PARTS)
    assert "BundleError: expected a benchmark manifest" in capfd.readouterr().err
    assert are_right(idle.score(toy.folder, scores, PARTS), toy)


def test_ground_truth_is_loaded_before_the_first_file_and_shared(
    idle: Scorer, capfd: pytest.CaptureFixture[str], toy: Example, scores: Path
) -> None:
    idle.start()
    folder = scores.with_name("benchmark")
    shutil.copytree(toy.folder, folder)
    idle.prepare(folder)
    idle.prepare(folder / "nothing")  # loaded after the other, and so tells when that is done
    seen = ""

    def look() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return f"The ground truth in {folder / 'nothing'} was not loaded" in seen

    until(look, "a word on the benchmark that is not there")
    shutil.rmtree(folder)
    for _ in range(2):
        assert are_right(idle.score(folder, scores, PARTS), toy)


def test_what_would_be_dropped_again_is_not_loaded(
    idle: Scorer, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    idle.start()
    until(lambda: begun(pid_of(idle)), "a fork server that has begun")
    stop(pid_of(idle))
    for i in [*range(MOST_TRUTHS), 0, MOST_TRUTHS]:  # the first is wanted again, and so not the oldest any more
        idle.prepare(tmp_path / f"missing-{i}")
    os.kill(pid_of(idle), signal.SIGCONT)
    seen = ""

    def look() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return f"{tmp_path / f'missing-{MOST_TRUTHS}'} was" in seen

    until(look, "a word on the last")
    tried = [i for i in range(MOST_TRUTHS + 1) if f"{tmp_path / f'missing-{i}'} was not loaded" in seen]
    assert tried == [0, *range(2, MOST_TRUTHS + 1)]


def test_preparing_starts_nothing_and_waits_for_nothing(idle: Scorer, toy: Example, scores: Path) -> None:
    idle.prepare(toy.folder)
    assert (idle.pid,) == (None,)
    idle.start()
    warm = pid_of(idle)
    idle.start()
    assert idle.pid == warm
    stop(warm)

    def prepare_often() -> None:
        for _ in range(1000):
            idle.prepare(toy.folder)

    waiting = threading.Thread(target=prepare_often)
    waiting.start()
    waiting.join(PATIENCE_SECONDS)
    done = not waiting.is_alive()
    os.kill(warm, signal.SIGCONT)
    assert done
    assert are_right(idle.score(toy.folder, scores, PARTS), toy)
    assert idle.stop() == 0


def test_the_fork_server_ends_by_itself_when_its_socket_closes_and_so_does_what_it_scores(
    scorer: Scorer, toy: Example, scores: Path
) -> None:
    warm, stuck = pid_of(scorer), Stuck(scorer, toy.folder, scores.with_name("stuck"))
    assert scorer.stop() == 0
    assert not alive(warm)
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    assert isinstance(stuck.let_go(), SandboxError)
    assert scorer.stop() is None


def test_a_fork_server_that_does_not_end_is_killed(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "GRACE_SECONDS", 0.05)
    stop(pid_of(scorer))
    assert scorer.stop() == -signal.SIGKILL


def test_a_file_that_no_process_can_be_forked_for_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fork() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    ours, theirs = Pipe()
    status, told = Pipe(duplex=False)
    with ours, theirs, status:
        ForkServer(None)._fork({}, theirs, os.dup(told.fileno()))  # type: ignore[arg-type]  # it needs no socket to fork
        told.close()
        assert scorer_module._ending(status) == "without a status"
    assert "no more processes" in capsys.readouterr().err
    assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _open_files(pid: int) -> list[str]:
    """Return what a process has open besides the standard streams."""
    files = [path.readlink() for path in (Path("/proc") / str(pid) / "fd").iterdir() if int(path.name) > 2]
    return sorted(str(path).split(":", maxsplit=1)[0] for path in files)


def test_they_are_given_no_settings_no_credentials_and_no_open_files(
    toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LDSBOARD_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "SECRET"):
        monkeypatch.setenv(name, "hunter2")
    scorer = Scorer()
    scorer.start()
    try:
        # Two, so that the second could inherit what belongs to the first.
        stuck = [Stuck(scorer, toy.folder, scores.with_name(name)) for name in ("first", "second")]
        for pid in (pid_of(scorer), stuck[0].child, stuck[1].child):
            environment = (Path("/proc") / str(pid) / "environ").read_bytes()
            assert b"hunter2" not in environment
            assert b"LDSBOARD_" not in environment
        # The kernel wakes who writes to a pipe before who reads has it open.
        expected = sorted(["socket", str(scores.with_name("second"))])
        until(lambda: _open_files(stuck[1].child) == expected, f"a child with nothing open but {expected}")
        for file in stuck:
            file.let_go()
        until(lambda: _open_files(pid_of(scorer)) == ["socket"], "a fork server with nothing open but its socket")
    finally:
        scorer.stop()


def test_they_know_neither_the_database_nor_the_settings() -> None:
    program = "import sys, app.sandbox.forking; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = ended.stdout.split()
    assert "ldsboard.groundtruth" in modules
    ours = {name for name in modules if name.startswith("app.")}
    assert ours == {f"app.sandbox{name}" for name in ("", ".forking", ".child", ".truths", ".lifeline")}
    assert not {"sqlalchemy", "fastapi", "pydantic", "torch"} & set(modules)


def test_a_service_without_descriptors_leaves_the_fork_server_to_the_others(
    scorer: Scorer, toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*, duplex: bool = True) -> None:
        raise OSError(errno.EMFILE, f"none left (duplex {duplex})")

    stuck = Stuck(scorer, toy.folder, scores.with_name("stuck"))
    warm = pid_of(scorer)
    with monkeypatch.context() as shortage:
        shortage.setattr(scorer_module, "Pipe", none_left)
        with pytest.raises(OSError, match="none left"):
            scorer.score(toy.folder, scores, PARTS)
    assert isinstance(stuck.let_go(), ProblemError)
    assert pid_of(scorer) == warm
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)


def test_what_is_wrong_with_the_ground_truth_is_not_the_fault_of_the_file(
    toy: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(_: str) -> None:
        raise ProblemError(
            "margins.invalid", expected="margins that differ", got="equal ones", hint="Publish it again."
        )

    monkeypatch.setattr(child, "ground_truth", spoilt)
    ours, theirs = Pipe()
    with ours, theirs:
        request = {"benchmark": str(toy.folder), "scores": str(scores), "parts": PARTS, "threads": 1}
        with pytest.raises(ProblemError, match="equal ones"):
            child.answer(request, theirs)
        assert not ours.poll(0)  # nothing was said of the file


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_they_outlive_what_is_sent_to_all_processes_of_a_terminal_or_unit(
    ending: signal.Signals, scorer: Scorer, toy: Example, scores: Path
) -> None:
    stuck = Stuck(scorer, toy.folder, scores.with_name("stuck"))
    for pid in (pid_of(scorer), stuck.child):
        os.kill(pid, ending)
    assert isinstance(stuck.let_go(), ProblemError)
    assert are_right(scorer.score(toy.folder, scores, PARTS), toy)
    assert scorer.stop() == 0


def test_the_fork_server_does_not_begin_for_a_parent_that_is_gone() -> None:
    ours, theirs = Pipe()
    command = [sys.executable, "-m", "app.sandbox", str(theirs.fileno()), "1"]
    with ours, theirs:
        ended = subprocess.run(command, cwd=ROOT, pass_fds=[theirs.fileno()], timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 1


PARENT = """
import sys
from pathlib import Path
from app.sandbox.scorer import Scorer

scorer = Scorer()
scorer.start()
print(scorer.pid, flush=True)
scorer.score(Path(sys.argv[1]), Path(sys.argv[2]), ["public"])
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_they_die_with_the_service_even_while_they_are_stopped(toy: Example, scores: Path, stopped: bool) -> None:
    pipe = scores.with_name("stuck")
    os.mkfifo(pipe)
    command = [sys.executable, "-c", PARENT, str(toy.folder), str(pipe)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent, pipe.open("wb"):
        assert parent.stdout is not None
        warm = int(parent.stdout.readline())
        (scoring,) = children(warm)
        if stopped:
            stop(warm)
            stop(scoring)
        parent.kill()
        until(lambda: not alive(warm) and not alive(scoring), "the end of both processes")
