"""Run one command of ``ldsboard`` as a process: its messages are shown at once, and kept for the report."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from ldsboard.commands.exits import INTERRUPTED, TERMINATED, UNEXPECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ldsboard.ci.cancellation import Cancellation

KEPT_LINES = 200
"""How many of the last messages are kept."""

NOTHING_SENT = "The job was cancelled before anything was sent."

RESUME = "submit --resume "
"""Part of the advice that ``ldsboard`` gives on a user's own machine, where the record of an upload stays in the cache."""

RUN_AGAIN = (
    "The upload is not finished. Run the job again to send the file. If a new machine runs it, the unfinished upload takes a "
    "place in the quota until it expires, after 24 hours at most."
)
"""The advice for a job, whose machine is gone when the job has ended."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit code, its standard output, and the last lines of its standard error."""

    code: int
    out: str
    messages: list[str]


def run_command(
    arguments: Sequence[str], environ: Mapping[str, str], show: Callable[[str], None], cancellation: Cancellation
) -> Finished:
    """Run ``ldsboard`` with these arguments, wait for its end, and return its exit code and output.

    A CI that cancels a job sends a signal to this process only. The cancellation makes ``ldsboard`` give up its upload, because a
    later run on another machine cannot resume the upload. The exit code is `INTERRUPTED` if the cancellation ended the command,
    and `UNEXPECTED` if a signal killed the command without a cancellation.

    Parameters
    ----------
    arguments
        Arguments of ``ldsboard``.
    environ
        Environment of the process.
    show
        Function that is called with each line of the standard error.
    cancellation
        The handler of the signals that cancel the job.
    """
    if cancellation.requested():
        return Finished(INTERRUPTED, "", [NOTHING_SENT])
    # -I: files of the user's repository must not take the place of modules. -X utf8: -I ignores PYTHONUTF8.
    command = [sys.executable, "-I", "-X", "utf8", "-m", "ldsboard", *arguments]
    pipe = subprocess.PIPE
    written: list[str] = []
    messages: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        env=dict(environ),
        encoding="utf-8",
        errors="replace",
    ) as child:
        cancellation.watch(child)
        out, err = cast("IO[str]", child.stdout), cast("IO[str]", child.stderr)
        reader = threading.Thread(target=lambda: written.append(out.read()))
        reader.start()
        for line in err:
            words = RUN_AGAIN if RESUME in line else line.rstrip()
            show(words)
            messages.append(words)
            del messages[:-KEPT_LINES]
        reader.join()
        code = child.wait()
    if cancellation.requested() and (code < 0 or code == TERMINATED):
        code, messages = INTERRUPTED, messages or [NOTHING_SENT]
    elif code < 0:
        code, messages = UNEXPECTED, [*messages, _killed(-code)]
    return Finished(code, "".join(written), messages)


def _killed(number: int) -> str:
    """Return the message for a command that a signal has killed."""
    return (
        f"Error: ldsboard was killed by signal {number} ({signal.strsignal(number)}), and the job was not cancelled. The usual "
        "cause is too little memory: run the job on a runner with more memory."
    )
