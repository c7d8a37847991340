"""Running tasks in processes: results, errors, and processes that end unexpectedly."""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import Pipe, get_context
from typing import TYPE_CHECKING

import pytest

from ldsboard.retraining import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def prepare() -> Callable[[int], Iterator[tuple[int, int]]]:
    def work(task: int) -> Iterator[tuple[int, int]]:
        if task == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        yield task, os.getpid()
        yield 100 // task, os.getpid()

    return work


def test_run_does_every_task_once() -> None:
    reports = list(processes.run(prepare, range(1, 6), 2))
    assert sorted(number for number, _ in reports) == sorted([1, 2, 3, 4, 5, 100, 50, 33, 25, 20])
    assert os.getpid() not in {pid for _, pid in reports}


def test_run_raises_error_with_traceback_of_task() -> None:
    with pytest.raises(processes.ProcessError, match="ZeroDivisionError"):
        list(processes.run(prepare, [0], 1))


def test_run_reports_killed_process() -> None:
    with pytest.raises(processes.ProcessError, match=r"exit code -9.*Finished shards are kept"):
        list(processes.run(prepare, [1, 13], 2))


def test_run_reports_process_that_ends_between_tasks() -> None:
    parent_end, child_end = Pipe()
    child_end.send(("idle", None))
    child_end.close()
    ended = get_context("spawn").Process(target=sys.exit, args=(3,))
    ended.start()
    ended.join()
    with pytest.raises(processes.ProcessError, match=r"exit code 3.*Finished shards are kept"):
        list(processes._receive(parent_end, {parent_end: ended}, iter([1])))


def test_run_of_no_tasks_starts_no_process() -> None:
    assert list(processes.run(prepare, [], 2)) == []
