"""Calls in daemon threads, and locks that show that a process still runs."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ldsboard.background import call, call_all
from ldsboard.locks import lock

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from ldsboard.locks import lock
with lock(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_call_returns_and_raises_what_the_function_does() -> None:
    assert call(lambda: threading.current_thread().daemon) is True
    with pytest.raises(ZeroDivisionError):
        call(lambda: 1 / 0)


def test_calls_run_at_the_same_time_in_so_many_threads_at_most() -> None:
    together = threading.Barrier(3)
    running, most = [0], [0]
    counting = threading.Lock()

    def work() -> None:
        with counting:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait()
        with counting:
            running[0] -= 1

    call_all([work] * 6, 3)
    assert most == [3]
    assert call_all([], 3) == []


def test_failure_does_not_wait_for_other_calls_and_starts_no_more() -> None:
    release, started = threading.Event(), []

    def hang() -> None:
        started.append(1)
        release.wait()

    def fail() -> None:
        raise KeyError("failed")

    with pytest.raises(KeyError):
        call_all([hang, fail, hang, hang], 2)
    release.set()
    assert sum(started) <= 2  # the thread of the failed call can have begun one more call


def test_lock_is_held_by_one_block_or_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "it.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with lock(path) as held:
            assert not held
        holder.kill()
        holder.wait()
    with lock(path) as held, lock(path) as again:
        assert (held, again) == (True, False)
    with lock(path, wait=True) as held:
        assert held


def test_work_goes_on_in_a_folder_without_locks(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with lock(tmp_path / "file" / "it.lock") as held:
        assert held


def test_waiting_goes_on_after_the_operating_system_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows gives up after ten seconds; here the function that asks the operating system gives up twice."""
    given_up = [OSError(errno.EDEADLK, "gives up"), OSError(errno.EACCES, "gives up")]

    def request(_: int, *, wait: bool) -> None:
        assert wait
        if given_up:
            raise given_up.pop()

    monkeypatch.setattr("ldsboard.locks._request", request)
    with lock(tmp_path / "it.lock", wait=True) as held:
        assert (held, given_up) == (True, [])
