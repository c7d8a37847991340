"""A few processes side by side that take tasks and report on them, and never outlive the process that started them."""

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

from worker import device

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

PR_SET_PDEATHSIG = 1
NO_MORE = object()
LOOK_SECONDS = 0.2
"""How long a signal that another thread of this process received may wait: it does not end this thread's waiting for messages."""


class ProcessError(RuntimeError):
    """A training process failed or was killed; what it finished before is kept."""


def run(prepare: Callable[[], Callable[[T], Iterable[R]]], tasks: Iterable[T], processes: int) -> Generator[R]:
    """Yield what processes report on tasks, as it comes.

    Parameters
    ----------
    prepare
        Called once in every process; returns the function that takes a task and yields reports. Pickled.
    tasks
        Handed out one by one, to whichever process is free; the next one is taken only then.
    processes
        How many. Each is named by its number, from 0, by which it finds its GPU.

    Raises
    ------
    ProcessError
        A process raised an error, or ended without being asked to.
    """
    waiting = iter(tasks)
    context = multiprocessing.get_context("spawn")
    running: dict[Any, Any] = {}
    device.use_one_thread()  # children read these settings before they import anything
    try:
        for number, task in enumerate(islice(waiting, processes)):
            ours, theirs = context.Pipe()
            child = context.Process(target=_serve, args=(prepare, theirs), name=str(number), daemon=True)
            with _interrupts_held():
                child.start()
            theirs.close()
            running[ours] = child
            ours.send(task)
        while running:
            for pipe in wait(list(running), LOOK_SECONDS):
                yield from _answers(pipe, running, waiting)
    finally:
        for child in running.values():
            child.kill()  # what it has not finished is of no use
            child.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold SIGINT back from this thread, and for good from a process started meanwhile, which inherits the mask.

    A terminal sends Ctrl-C to every process in the foreground, but it is the parent's to answer.
    """
    resource_tracker.ensure_running()  # starting it, as the first child does, would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answers(pipe: Any, running: dict[Any, Any], waiting: Iterator[Any]) -> Iterator[Any]:
    """Take one message from a process: a report, the wish for another task (None), or the text of an error."""
    try:
        kind, content = pipe.recv()
        if kind == "idle" and (task := next(waiting, NO_MORE)) is not NO_MORE:
            pipe.send(task)
            return
    except (EOFError, ConnectionError) as error:
        child = running.pop(pipe)
        child.join()
        reason = " (killed; the kernel does so when memory runs out)" if child.exitcode == -signal.SIGKILL else ""
        raise ProcessError(
            f"a training process ended with exit code {child.exitcode}{reason}. Start again: finished shards are kept."
        ) from error
    if kind == "error":
        raise ProcessError(f"a training process failed:\n{content}Finished shards are kept: mend this and start again.")
    if kind == "report":
        yield content
    else:
        pipe.close()
        running.pop(pipe).join()


def _serve(prepare: Callable[[], Callable[[T], Iterable[R]]], pipe: Connection) -> None:
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
    except Exception:  # noqa: BLE001  # whatever it is, the parent must hear of it
        pipe.send(("error", traceback.format_exc()))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":  # at once, even while this thread holds the interpreter
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
