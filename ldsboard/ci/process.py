"""Run one command of ``ldsboard`` as a process: its messages are shown at once, and kept for the report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from ldsboard.commands.interruption import SECOND_CHANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

KEPT_LINES = 200
"""How many of the last messages are kept."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit code, its standard output, and the last lines of its standard error."""

    code: int
    out: str
    messages: list[str]


def run_command(arguments: Sequence[str], environ: Mapping[str, str], show: Callable[[str], None]) -> Finished:
    """Run ``ldsboard`` with these arguments, wait for its end, and return its exit code and output.

    A CI that cancels a job sends a signal to this process only, and this function passes the signal on to ``ldsboard``.
    The function then makes ``ldsboard`` give up the upload, because a later run on another machine cannot resume the upload.

    Parameters
    ----------
    arguments
        Arguments of ``ldsboard``.
    environ
        Environment of the process.
    show
        Function that is called with each line of the standard error.
    """
    # -I: files of the user's repository must not take the place of modules.
    command = [sys.executable, "-I", "-m", "ldsboard.cli", *arguments]
    pipe = subprocess.PIPE
    written: list[str] = []
    messages: list[str] = []
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=dict(environ),
            encoding="utf-8",
            errors="replace",
        ) as child,
        _cancelled(child) as cancelled,
    ):
        out, err = cast("IO[str]", child.stdout), cast("IO[str]", child.stderr)
        reader = threading.Thread(target=lambda: written.append(out.read()))
        reader.start()
        for line in err:
            show(line.rstrip("\r\n"))
            messages.append(line.rstrip())
            del messages[:-KEPT_LINES]
            if cancelled.is_set() and line.startswith(SECOND_CHANCE):
                _interrupt(child)
        reader.join()
        code = child.wait()
    return Finished(code, "".join(written), messages)


@contextmanager
def _cancelled(child: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Pass the first SIGINT or SIGTERM of a block on to a process as Ctrl-C, and yield an event that this signal sets."""
    event = threading.Event()

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        if not event.is_set():  # a second Ctrl-C has a meaning of its own
            event.set()
            _interrupt(child)

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    usual = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _interrupt(child: subprocess.Popen[str]) -> None:
    if os.name == "nt":
        child.terminate()
    else:
        child.send_signal(signal.SIGINT)
