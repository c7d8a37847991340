"""The smallest plan that still has two parts, two runs and several groups, and the real command line."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from worker.plan import Plan

ROOT = Path(__file__).parents[2]
HIDDEN_SEED = "00112233445566778899aabbccddeeff"
TINY = Plan("digits-mlp", public=4, ranking=6, runs=2, group=4)


def command(*arguments: str | Path) -> list[str]:
    """Return the command that runs the trainer as its users do."""
    return [sys.executable, "-m", "worker", *map(str, arguments)]


def import_file(path: Path) -> Any:
    """Import a file by its path, as the user of a kit does."""
    spec = spec_from_file_location(f"imported_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def alive(pid: int) -> bool:
    """Tell whether a process still runs."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
