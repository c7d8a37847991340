"""Run tasks in parallel processes that yield reports and never outlive their parent process."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from ldsboard.retraining import device

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

PR_SET_PDEATHSIG = 1
NO_TASK = object()
POLL_SECONDS = 0.2
"""Longest wait for a message, in seconds. If another thread receives the signal of Ctrl-C, the reaction can take this long."""


class ProcessError(RuntimeError):
    """A training process failed or was killed. The finished shards are kept."""


def run(prepare: Callable[[], Callable[[T], Iterable[R]]], tasks: Iterable[T], processes: int) -> Generator[R]:
    """Run tasks in parallel processes, and yield their reports as they arrive.

    This process and each new process are limited to one thread of computation. If the generator is closed or an error is raised,
    the processes are killed.

    Parameters
    ----------
    prepare
        Called once in every process; returns the function that runs a task and yields reports. `prepare` must be picklable.
    tasks
        Tasks to run. The next task is taken only when a process is free.
    processes
        Number of processes. The name of each process is a number, from 0; this number selects the GPU of the process.

    Raises
    ------
    ProcessError
        A process raised an error or ended unexpectedly.
    """
    remaining = iter(tasks)
    context = multiprocessing.get_context("spawn")
    running: dict[Any, Any] = {}
    device.use_one_thread()  # sets environment variables, which the child processes inherit
    try:
        for number, task in enumerate(islice(remaining, processes)):
            parent_end, child_end = context.Pipe()
            child = context.Process(target=_run_tasks, args=(prepare, child_end), name=str(number), daemon=True)
            with _sigint_blocked():
                child.start()
            child_end.close()
            running[parent_end] = child
            parent_end.send(task)
        while running:
            for pipe in wait(list(running), POLL_SECONDS):
                yield from _receive(pipe, running, remaining)
    finally:
        for child in running.values():
            child.kill()  # unfinished shards are useless
            child.join()


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread within a ``with`` statement. Processes started there keep SIGINT blocked until they end.

    When Ctrl-C is pressed, a terminal sends SIGINT to every process in the foreground, but only the parent should react.
    """
    # Starting the resource tracker unblocks SIGINT. Start it now; otherwise starting the first child would start it.
    resource_tracker.ensure_running()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _receive(pipe: Any, running: dict[Any, Any], remaining: Iterator[Any]) -> Iterator[Any]:
    """Receive and handle one message from a process: "report", "idle" or "error". Yield the content of a report.

    Answer "idle" with the next task. If no task remains, close the pipe and wait until the process has ended.

    Raises
    ------
    ProcessError
        The message is an error, or the process ended unexpectedly.
    """
    try:
        kind, content = pipe.recv()
        if kind == "idle" and (task := next(remaining, NO_TASK)) is not NO_TASK:
            pipe.send(task)
            return
    except (EOFError, ConnectionError) as error:
        child = running.pop(pipe)
        child.join()
        reason = " (killed, perhaps by the kernel because memory ran out)" if child.exitcode == -signal.SIGKILL else ""
        raise ProcessError(
            f"A training process ended with exit code {child.exitcode}{reason}. "
            "Finished shards are kept: repeat the command to continue."
        ) from error
    if kind == "error":
        raise ProcessError(
            f"A training process failed:\n{content}Finished shards are kept: fix the cause and repeat the command."
        )
    if kind == "report":
        yield content
    else:
        pipe.close()
        running.pop(pipe).join()


def _run_tasks(prepare: Callable[[], Callable[[T], Iterable[R]]], pipe: Connection) -> None:
    _die_with_parent()
    device.use_one_thread()
    try:
        work = prepare()
        while True:
            for report in work(pipe.recv()):
                pipe.send(("report", report))
            pipe.send(("idle", None))
    except (EOFError, BrokenPipeError):
        pass  # no more tasks
    except Exception:  # noqa: BLE001  # the parent reports every error
        pipe.send(("error", traceback.format_exc()))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
    kill_with_parent()


def kill_with_parent() -> None:
    """On Linux, have the kernel kill this process when the thread that started it ends, even if this process is stopped."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
