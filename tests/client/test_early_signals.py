"""Signals in the first moments of a program: during its imports, and of the process that a CI job runs, during its start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ldsboard.commands import exits
from tests.acceptance import ci_events
from tests.acceptance.action_runner import read_commands, read_outputs
from tests.app.service import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.app.service import Service

HOLD = """
import os, sys

class Hold:
    def find_spec(self, name, *_):
        if name == "rich" and os.environ.get("HELD") == "imports":
            os.environ["HELD"] = "nothing"
            open(os.environ["PIPE"]).read()

sys.meta_path.insert(0, Hold())
if os.environ["HELD"] == "command":
    sys.executable = os.environ["COMMAND"]
"""
"""A ``sitecustomize`` that makes the first import of ``rich`` wait for the end of a named pipe, or that makes a CI job start a
program which waits for the pipe in place of Python."""

INTERRUPTED = 130


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: opening it for writing waits until a process waits for it."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def environment(service: Service, token: str, scores: Path, pipe: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sitecustomize.py").write_text(HOLD, encoding="utf-8")
    waiting = tmp_path / "waiting"
    waiting.write_text('#!/bin/sh\nexec cat "$PIPE"\n', encoding="utf-8")
    waiting.chmod(0o700)
    return ci_events.push(tmp_path) | {
        "COMMAND": str(waiting),
        "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        "HELD": "imports",
        "HOME": str(tmp_path),
        "LDSBOARD_CACHE": str(tmp_path / "cache"),
        "LDSBOARD_FILE": str(scores),
        "LDSBOARD_BENCHMARK": "toy",
        "LDSBOARD_METHOD": "early",
        "LDSBOARD_SERVER": service.url,
        "LDSBOARD_TOKEN": token,
        "PATH": os.environ["PATH"],
        "PIPE": str(pipe),
        "PYTHONPATH": str(tmp_path),
        "RUNNER_TEMP": str(tmp_path),
    }


def signalled(command: list[str], environment: dict[str, str], number: int) -> tuple[int, str, str]:
    """Run a command until it waits for the pipe, and send it a signal; held imports then go on. Return exit code and output."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with Path(environment["PIPE"]).open("wb") as held:
                process.send_signal(number)
                if environment["HELD"] == "imports":
                    held.close()
                out, err = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    "program", [[sys.executable, "-m", "ldsboard"], [str(Path(sys.executable).with_name("ldsboard"))]]
)
def test_interrupt_during_the_imports_ends_the_command_without_a_traceback(
    environment: dict[str, str], scores: Path, program: list[str]
) -> None:
    command = [*program, "submit", str(scores), "toy", "--method", "early"]
    assert signalled(command, environment, signal.SIGINT) == (INTERRUPTED, "", "")


@pytest.mark.parametrize("held", ["imports", "command"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_job_that_is_cancelled_at_once_reports_that_nothing_was_sent(
    environment: dict[str, str], service: Service, held: str, number: int
) -> None:
    before = service.rows()["submission"]
    command = [sys.executable, "-m", "ldsboard.ci"]
    code, out, err = signalled(command, environment | {"HELD": held}, number)
    assert (code, err) == (INTERRUPTED, "")
    (((level, _, message),), _) = read_commands(out)
    assert (level, message) == ("error", "The job was cancelled before anything was sent.")
    assert read_outputs(Path(environment["GITHUB_OUTPUT"]).read_text(encoding="utf-8"))["status"] == "interrupted"
    assert service.rows()["submission"] == before


def test_command_that_is_killed_without_a_cancellation_is_an_error(environment: dict[str, str], tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -KILL $$\n", encoding="utf-8")
    killed.chmod(0o700)
    command = [sys.executable, "-m", "ldsboard.ci"]
    held = environment | {"HELD": "command", "COMMAND": str(killed)}
    done = subprocess.run(command, env=held, capture_output=True, text=True, check=False)
    (((level, _, message),), _) = read_commands(done.stdout)
    assert (done.returncode, level) == (exits.UNEXPECTED, "error")
    assert message.startswith("ldsboard was killed by signal 9 (Killed), and the job was not cancelled.")
    assert read_outputs(Path(environment["GITHUB_OUTPUT"]).read_text(encoding="utf-8"))["status"] == "error"
