"""The job runner: it works on notification, survives exceptions of jobs, and stops on request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from app.scoring import runner as module
from app.scoring.runner import Runner
from tests.app.service import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Work = Callable[[], bool]
    Run = Callable[[Work, int], Runner]


@pytest.fixture
def run() -> Iterator[Run]:
    runners: list[Runner] = []

    def start(work: Work, threads: int) -> Runner:
        runners.append(Runner(work, threads))
        runners[-1].start()
        return runners[-1]

    yield start
    for runner in runners:
        runner.stop()


def test_runner_works_until_the_queue_is_empty_and_resumes_on_notify(run: Run) -> None:
    waiting, done = [1, 2, 3], []

    def work() -> bool:
        if waiting:
            done.append(waiting.pop(0))
        return bool(waiting)

    runner = run(work, 1)
    until(lambda: done == [1, 2, 3], "three jobs")
    waiting.append(4)
    runner.notify()
    until(lambda: done == [1, 2, 3, 4], "a fourth job")


def test_runner_rechecks_the_queue_without_notification(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 0.01)
    looks = []

    def work() -> bool:
        looks.append(1)
        return False

    run(work, 1)
    until(lambda: len(looks) > 3, "repeated checks of the runner")


def test_runner_survives_a_job_that_raises(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    done = threading.Event()
    fail = iter([True, False])

    def work() -> bool:
        if next(fail, False):
            raise RuntimeError("the disk is full")
        done.set()
        return False

    runner = run(work, 1)
    until(lambda: "job.crashed" in capsys.readouterr().out, "a log line")
    runner.notify()
    assert done.wait(PATIENCE_SECONDS)


def test_runner_runs_several_jobs_in_parallel(run: Run) -> None:
    together = threading.Barrier(2)
    met = threading.Event()

    def work() -> bool:
        if not met.is_set():
            together.wait(PATIENCE_SECONDS)
            met.set()
        return False

    run(work, 2)
    assert met.wait(PATIENCE_SECONDS)


def test_runner_threads_stay_alive_until_all_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 1000.0)
    started, release = threading.Barrier(2), threading.Event()
    idle = iter([True])

    def work() -> bool:
        first = next(idle, False)
        started.wait(PATIENCE_SECONDS)
        if not first:
            release.wait(PATIENCE_SECONDS)
        return False

    runner = Runner(work, 2)
    runner.start()
    ended = threading.Thread(target=runner.stop)
    ended.start()
    until(lambda: runner._running == 1, "the end of one thread's work")
    assert all(thread.is_alive() for thread in runner._threads[:2])
    release.set()
    ended.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in runner._threads)


def test_notify_during_a_queue_check_is_not_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECHECK_SECONDS", 1000.0)
    looking, notified, again = threading.Event(), threading.Event(), threading.Event()

    def work() -> bool:
        if looking.is_set():
            again.set()
            return False
        looking.set()
        assert notified.wait(PATIENCE_SECONDS)
        return False

    runner = run(work, 1)
    assert looking.wait(PATIENCE_SECONDS)
    runner.notify()
    notified.set()
    assert again.wait(PATIENCE_SECONDS)


def test_stop_does_not_wait_for_a_hanging_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.05)
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> bool:
        started.set()
        release.wait(PATIENCE_SECONDS)
        ended.set()
        return False

    runner = Runner(work, 1)
    runner.start()
    assert started.wait(PATIENCE_SECONDS)
    assert not runner.stop()
    assert not ended.is_set()
    release.set()
    monkeypatch.setattr(module, "STOP_SECONDS", PATIENCE_SECONDS)
    assert runner.stop()
    assert ended.is_set()


def test_chore_is_repeated_after_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "CHORE_SECONDS", 0.01)
    done = []

    def chore() -> None:
        done.append(1)
        if len(done) == 1:
            raise RuntimeError("the disk is full")

    runner = Runner(lambda: False, 1, chore)
    runner.start()
    until(lambda: len(done) > 3, "repeated runs of the chore")
    assert runner.stop()
    assert "chore.crashed" in capsys.readouterr().out
