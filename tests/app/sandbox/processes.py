"""Scoring processes as tests see them: their results, their log, and a scoring process that hangs."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from app.errors import SandboxError
from ldsboard import ProblemError
from tests.app.service import PATIENCE_SECONDS, until
from tests.processes import children

if TYPE_CHECKING:
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox
    from app.scoring.sandbox.part_results import PartResult
    from tests.app.benchmarks import Example

PARTS = ["public", "ranking"]


def pid_of(sandbox: Sandbox) -> int:
    assert sandbox.pid is not None
    return sandbox.pid


def results_match(found: dict[str, PartResult], toy: Example) -> bool:
    return all(
        found[part].influence.tobytes() == result.influence.tobytes()
        and found[part].per_target.tobytes() == result.per_target.tobytes()
        and found[part].numbers["lds"] == result.lds
        and (found[part].numbers["ci_low"], found[part].numbers["ci_high"]) == result.confidence_interval
        and found[part].numbers["warnings"] == result.warnings
        for part, result in toy.offline(toy.scores()).items()
    )


class Log:
    """A file that receives the standard error of the scoring processes.

    pytest's capture reads a file and then truncates it, so text that another process writes in between is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def start(self, sandbox: Sandbox) -> None:
        """Start a sandbox whose processes write their standard error to this file."""
        before = os.dup(2)
        with self._path.open("ab") as file:
            os.dup2(file.fileno(), 2)
        try:
            sandbox.start()
        finally:
            os.dup2(before, 2)
            os.close(before)

    def new(self) -> str:
        """Return the text written since the last call."""
        text = self._path.read_text()[self._read :]
        self._read += len(text)
        return text

    def until(self, word: str) -> str:
        """Wait until `word` is written, and return the text written since the last call."""
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen += self.new()
            return word in seen

        until(look, f"a log with {word!r} in it")
        return seen


def preload(sandbox: Sandbox, benchmark: Path, log: Log) -> str:
    """Preload ground truth, wait until it is loaded, and return the text logged meanwhile."""
    sandbox.preload(benchmark)
    sandbox.preload(benchmark / "nothing")  # the fork server loads in order: this error shows that the first is loaded
    return log.until(f"The ground truth in {benchmark / 'nothing'} could not be preloaded")


def open_for_writing(path: Path) -> int | None:
    """Open a named pipe for writing; return None if no process has it open for reading."""
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    return None


def replace_by_pipe(file: Path) -> Path:
    """Put an empty named pipe in the place of a file, so that the name is never missing; return another path of the file."""
    aside, pipe = file.with_name("aside"), file.with_name("pipe")
    os.link(file, aside)
    os.mkfifo(pipe)
    pipe.replace(file)
    return aside


class HangingScoring:
    """A scoring process that hangs, because its score file is an empty named pipe."""

    def __init__(self, sandbox: Sandbox, benchmark: Path, path: Path) -> None:
        os.mkfifo(path)
        before = children(pid_of(sandbox))
        self._pool = ThreadPoolExecutor(1)
        self.result: Future[dict[str, PartResult]] = self._pool.submit(sandbox.score, benchmark, path, PARTS)
        self._end: int | None = until(lambda: open_for_writing(path), "a scoring process that reads")
        (self.child,) = children(pid_of(sandbox)) - before

    def release(self) -> ProblemError | SandboxError:
        """Close the pipe, so that the scoring process reads an empty file, and return the resulting error."""
        if self._end is not None:
            os.close(self._end)
            self._end = None
        error = self.result.exception(PATIENCE_SECONDS)
        self._pool.shutdown()
        assert isinstance(error, ProblemError | SandboxError)
        return error
