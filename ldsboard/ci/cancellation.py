"""The cancellation of a job: the CI sends SIGINT or SIGTERM to the program, which passes SIGTERM on to its command.

This file imports nothing slow, so that the program handles the signals from its start.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess


class Cancellation:
    """Handler of SIGINT and SIGTERM: the first signal cancels the job and ends the command that runs."""

    def __init__(self) -> None:
        self._requested = False
        self._child: subprocess.Popen[str] | None = None

    def __call__(self, *_: object) -> None:
        """Handle one signal."""
        if not self._requested:
            self._requested = True
            self._terminate()

    def install(self) -> None:
        """Make this object the handler of SIGINT and SIGTERM until the end of the process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self)

    def requested(self) -> bool:
        """Return whether the CI has cancelled the job; the caller must start no command in a cancelled job."""
        return self._requested

    def watch(self, child: subprocess.Popen[str]) -> None:
        """Make a cancellation of the job end this command. If the job is cancelled already, end the command at once."""
        self._child = child
        if self._requested:
            self._terminate()

    def _terminate(self) -> None:
        if self._child is not None:
            self._child.terminate()
