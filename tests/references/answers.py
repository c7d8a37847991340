"""Results of published libraries, computed in a subprocess; used by tests and benchmarks.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(sys.prefix) / "references"
"""Folder of the libraries, separate from the packages of the environment."""

REQUIREMENTS = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)", REQUIREMENTS, re.MULTILINE))
"""The version of each library."""


class Case(NamedTuple):
    """Scores (n, N), masks bool (M, n) and margins (M, N), the input of the libraries."""

    scores: NDArray[Any]
    masks: NDArray[np.bool_]
    margins: NDArray[Any]


class Answer(NamedTuple):
    """Result of one library for one case.

    Attributes
    ----------
    version
        Version of the library.
    per_target
        Correlations, (N,), converted to float64; empty if the library raised an error.
    dtype
        Name of the dtype that the library returned.
    error
        The error that the library raised, or an empty string.
    warnings
        Names of the warnings that the library gave.
    wall, cpu
        Wall and processor seconds of the call, without conversions of the input.
    """

    version: str
    per_target: NDArray[np.float64]
    dtype: str
    error: str
    warnings: list[str]
    wall: float
    cpu: float


def run_with_references(*command: str | Path) -> str:
    """Run Python with the published libraries on its path, in the project's folder, and return its standard output."""
    assert FOLDER.is_dir(), f"The published libraries are not installed in {FOLDER}. Install them: make references"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(FOLDER))), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(cases: Mapping[str, Case], *libraries: str, threads: int = 1) -> dict[str, dict[str, Answer]]:
    """Return the answers of the given libraries for every case; default: ``dattri``, ``quanda`` and ``torchmetrics``.

    The libraries use one thread, which favours them: on a busy machine with two processors, torch's gathers took ten times
    longer with two threads.
    """
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"The published libraries are not installed in {FOLDER}. Install them: make references")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cases.npz"
        arrays = {f"{name}.{part}": array for name, case in cases.items() for part, array in case._asdict().items()}
        np.savez(path, **arrays)
        found = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("published.py")), str(path), *libraries],
            env=os.environ | {"PYTHONPATH": str(FOLDER), "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            check=True,
        )
    return {
        name: {library: _answer(members) for library, members in given.items()}
        for name, given in json.loads(found.stdout).items()
    }


def _answer(members: dict[str, Any]) -> Answer:
    return Answer(
        version=members["version"],
        per_target=np.array(members.get("per_target", ()), dtype=np.float64),
        dtype=members.get("dtype", ""),
        error=members.get("error", ""),
        warnings=members["warnings"],
        wall=members.get("wall", np.nan),
        cpu=members.get("cpu", np.nan),
    )
