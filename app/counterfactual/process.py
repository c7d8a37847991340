"""The process that retrains models for one evaluation: it is started, read, paused and killed here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ldsboard.counterfactual.plan import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_WORDS = 2000
"""How many of the last characters that a failed process printed go into the log."""

VARIABLES = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")
"""Environment variables of the process. It gets no credentials."""


class Result(NamedTuple):
    """The result of an evaluation, as the columns of `app.db.counterfactuals.Counterfactual` with these names."""

    numbers: dict[str, Any]
    falls: bytes
    headline: bytes


class RefusedError(Exception):
    """The evaluation is impossible; the message says why."""


class ProcessFailedError(Exception):
    """The process ended without a result; the message has its exit status and its last words."""


@dataclass(frozen=True)
class Limits:
    """The limits of one evaluation: processor time of all models in seconds, and memory in bytes."""

    seconds: float
    memory: int


def has_torch() -> bool:
    """Return whether this installation can train models; torch itself is imported only by the process."""
    return find_spec("torch") is not None


class Retraining:
    """Runs evaluations one after the other, each in a process of its own, which ends when this process does.

    Parameters
    ----------
    parts
        Folder for finished parts.
    """

    def __init__(self, parts: Path, limits: Limits) -> None:
        self._parts, self._limits = parts, limits
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()  # for all members
        self._pauses = 0
        self._closed = False

    def run(self, benchmark: Path, scores: Path, report: Callable[[float], None]) -> Result:
        """Evaluate a score file against the folder of a published benchmark; `report` is called with the finished fraction.

        Raises
        ------
        RefusedError
            The evaluation is impossible.
        ProcessFailedError
            The process ended without a result, for instance after `kill`.
        """
        with TemporaryDirectory(prefix="ldsboard-") as folder:
            out, words = Path(folder, "result.npz"), Path(folder, "errors.txt")
            command = [sys.executable, "-m", "ldsboard.retraining", str(benchmark), str(scores)]
            command += ["--parts", str(self._parts), "--out", str(out)]
            command += ["--seconds", str(self._limits.seconds), "--memory", str(self._limits.memory)]
            environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
            with words.open("wb") as errors:
                # The process ends when its standard input does, that is, when this process ends.
                pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or not self._pauses)
                    if self._closed:
                        raise ProcessFailedError("killed before its start")
                    self._process = subprocess.Popen(command, env=environment, text=True, **pipes)
                with self._process as process:
                    for line in process.stdout or ():
                        report(float(line))
            said = words.read_text(errors="replace").strip()
            if process.returncode == REFUSED:
                raise RefusedError(said)
            if process.returncode:
                raise ProcessFailedError(f"exit status {process.returncode}: {said[-MAX_WORDS:]}")
            return _read(out)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process within a ``with`` statement, and start none. Several threads can pause it at the same time.

        Even at the lowest priority, a process takes caches and half a core from those on the other half. Only Linux ends a
        stopped process when this one is killed, so other systems do not pause it.
        """
        if sys.platform != "linux":
            yield
            return
        self._change_pauses(1)
        try:
            yield
        finally:
            self._change_pauses(-1)

    def _change_pauses(self, change: int) -> None:
        with self._changed:
            self._pauses += change
            if self._process is not None:
                self._process.send_signal(signal.SIGSTOP if self._pauses else signal.SIGCONT)
            self._changed.notify_all()

    def kill(self) -> None:
        """End the running process; `run` then raises ProcessFailedError."""
        with self._changed:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """End the running process, and start no other."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.kill()


def _read(path: Path) -> Result:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        numbers = json.loads(str(arrays["numbers"]))
        falls = np.stack([arrays["proponents"], arrays["opponents"]]).astype("<f8")
        headline = falls[0, numbers["sizes"].index(numbers["headline"])]
        return Result(numbers, falls.tobytes(), headline.tobytes())
