"""Real fork servers and scoring processes whose code a test has altered: they wait, or they are hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

from tests.app.sandbox.processes import open_for_writing
from tests.app.service import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

START = """
import runpy
runpy.run_module("app.scoring.sandbox", run_name="__main__", alter_sys=True)
"""

WAIT_BEFORE_EACH_TARGET = """
import os, sys
from app.scoring.sandbox import heartbeat
from ldsboard.core import blocks
from ldsboard.core.predictions import predict

heartbeat.BEAT_SECONDS = 0.01
blocks.MAX_BLOCK_TARGETS = 1
gate, fork_server = sys.argv.pop(1), os.getpid()

def wait_and_predict(*arguments):
    if os.getpid() != fork_server:
        with open(gate) as file:
            file.read()
    return predict(*arguments)

blocks.predict = wait_and_predict
"""

SEND_FILE_INSTEAD_OF_ANSWER = """
import os, signal, sys
from app.scoring.sandbox import scoring_process

name, answer = sys.argv.pop(1), scoring_process.answer

def send_file(request, service):
    if request["scores"] != name:
        return answer(request, service)
    scoring_process._set_async_flag(service, 0)  # closing the connection does not end this process
    with open(name, "rb") as file:
        content = file.read()
    while content:
        content = content[os.write(service.fileno(), content):]
    signal.pause()

scoring_process.answer = send_file
"""


def alter_fork_servers(monkeypatch: pytest.MonkeyPatch, program: str, argument: Path) -> None:
    """Let fork servers that start from now on run a program first, with one argument."""
    start = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", program + START, str(argument), *command[3:]], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)


class Gate:
    """Before a scoring process scores a target, it waits at this gate: a named pipe that nobody has open for writing.

    The scoring processes of fork servers that start later send a heartbeat every 10 ms.
    """

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(path)
        self._path = path
        alter_fork_servers(monkeypatch, WAIT_BEFORE_EACH_TARGET, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let scoring processes through without a stop from now on, so that no test waits for them."""
        opened = os.open(self._path, os.O_RDWR)
        self._path.unlink()
        self._path.touch()
        os.close(opened)

    def let_through(self) -> None:
        """Let a scoring process score one target. Call this again only after the process has reported the target."""
        os.close(until(lambda: open_for_writing(self._path), "a scoring process at the gate"))
