"""The smallest plan with two splits, two runs and several groups, and functions that run the trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ldsboard.retraining.recipe_file import load_module
from worker.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")
R = TypeVar("R")

ROOT = Path(__file__).parents[2]
HIDDEN_SEED = "00112233445566778899aabbccddeeff"
TINY = Plan("digits-mlp", public=4, ranking=6, runs=2, group=4)


def command(*arguments: str | Path) -> list[str]:
    """Return the command line that runs the trainer."""
    return [sys.executable, "-m", "worker", *map(str, arguments)]


def run_in_subprocess(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the trainer as a subprocess, which takes two seconds to start, and wait for its end."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def run_in_this_process(
    prepare: Callable[[], Callable[[T], Iterable[R]]], tasks: Iterable[T], _processes: int
) -> Generator[R]:
    """Run the tasks in this process instead of the subprocesses of `ldsboard.retraining.processes.run`."""
    work = prepare()
    for task in tasks:
        yield from work(task)


def import_file(path: Path) -> Any:
    """Import a file by its path, as the user of a kit does."""
    return load_module(path, f"imported_{path.stem}")
