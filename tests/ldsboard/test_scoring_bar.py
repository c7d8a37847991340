"""The progress bar of commands that score offline: shown on a terminal, after a delay, and nowhere else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from rich.console import Console

from ldsboard.commands import progress

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
from ldsboard import cli
from ldsboard.commands import progress
from ldsboard.core import blocks
from ldsboard.core.ranked_subsets import RankedSubsets

progress.DELAY_SECONDS = float(sys.argv.pop(1))
blocks.MAX_BLOCK_TARGETS = 1
score_block = RankedSubsets.score_block

def wait_and_score(*arguments):
    sys.stdin.readline()
    return score_block(*arguments)

RankedSubsets.score_block = wait_and_score
sys.argv[0] = "ldsboard"
cli.main()
"""
"""A command that waits for a line on standard input before it scores each of the 5 targets."""


WARNING = "Warning: The scores are not distinguishable from random scores. [scores.random]"
"""What a command says about the scores."""


class Shown(NamedTuple):
    code: int
    out: str
    terminal: str
    """What was written to the terminal, or to the pipe in its place."""


def run_on_terminal(*arguments: object, delay: float = 0.0, wait_for: str | None = None, cancel: bool = False) -> Shown:
    """Run a command with a terminal as standard error; let it score once the terminal shows `wait_for`."""
    terminal, end = os.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(delay), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
        env=environment | {"TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(end)
        shown = ""
        assert process.stdin is not None
        for line in range(15):
            if line == 2 and wait_for is not None:  # two targets are scored
                shown += read_until(terminal, wait_for)
                if cancel:
                    process.send_signal(signal.SIGINT)
                    break
            with suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
        out, _ = process.communicate()
    shown += read_until(terminal, None)
    os.close(terminal)
    return Shown(process.returncode, out, shown)


def read_until(terminal: int, text: str | None) -> str:
    """Read a terminal until it shows `text`; with None, until no process has it open."""
    shown = ""
    with suppress(OSError):  # Linux reports the end of a terminal as an error
        while (text is None or text not in shown) and (piece := os.read(terminal, 4096)):
            shown += piece.decode()
    assert text is None or text in shown
    return shown


def visible(shown: str) -> str:
    """Return what a terminal shows at the end of a text that erases lines: this line, or the line before."""
    text = re.sub(r"\x1b\[\?25[hl]|\x1b\[[0-9;]*m", "", shown.replace("\r\n", "\n"))  # without cursor and colours
    erased_before = re.sub(r"[^\n]*\n\r?\x1b\[1A\x1b\[2K", "", text)
    lines = [line.rpartition("\x1b[2K")[2] for line in erased_before.split("\n")]
    return "\n".join(lines).strip()


def test_bar_shows_the_share_of_scored_targets_and_is_removed(scores: Path) -> None:
    found = run_on_terminal("score", scores, "toy", wait_for="40%")
    assert "Scoring scores.npy" in found.terminal
    assert visible(found.terminal) == WARNING
    assert (found.code, found.out.startswith("LDS")) == (0, True)


def test_other_commands_show_a_bar_too(scores: Path) -> None:
    other = scores.with_name("other.npy")
    np.save(other, np.load(scores)[::-1])
    validated = run_on_terminal("validate", scores, "toy", wait_for="40%")
    compared = run_on_terminal("compare", scores, other, "--benchmark", "toy", wait_for="Scoring scores.npy")
    assert "Scoring scores.npy" in validated.terminal
    assert (validated.code, compared.code) == (0, 0)


def test_bar_is_removed_when_scoring_is_interrupted(scores: Path) -> None:
    found = run_on_terminal("score", scores, "toy", wait_for="40%", cancel=True)
    assert found.code != 0
    assert found.terminal.count("\x1b[?25l") == found.terminal.count("\x1b[?25h") == 1  # the cursor is shown again
    assert "Scoring" not in visible(found.terminal)


@pytest.mark.parametrize("command", ["score", "compare"])
def test_no_bar_with_json(command: str, scores: Path) -> None:
    arguments = [scores, "toy"] if command == "score" else [scores, scores, "--benchmark", "toy"]
    found = run_on_terminal(command, *arguments, "--json")
    assert (found.code, found.terminal) == (0, "")


def test_no_bar_for_fast_scoring(scores: Path) -> None:
    found = run_on_terminal("score", scores, "toy", delay=1000.0)
    assert (found.code, found.terminal.strip()) == (0, WARNING)


def test_no_bar_in_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI services do
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    with (tmp_path / "log").open("w") as log, progress.scoring_bar(Console(file=log), "Scoring") as report:
        assert report is None
    assert (tmp_path / "log").read_text() == ""
