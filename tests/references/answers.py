"""The answers of published libraries, asked for in a process of their own; for tests and benchmarks.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FOLDER = Path(sys.prefix) / "references"
"""Where the libraries are installed: beside our own packages, and not among them."""


class Case(NamedTuple):
    """Scores (n, N), masks bool (M, n) and margins (M, N), as the libraries take them."""

    scores: NDArray[Any]
    masks: NDArray[np.bool_]
    margins: NDArray[Any]


class Answer(NamedTuple):
    """What one library gave for one case.

    Attributes
    ----------
    version
        Of the library.
    per_target
        Its correlations, (N,), in float64, whatever type it returns; empty where it raised an error.
    dtype
        The type that it returns.
    error
        The error that it raised, or nothing.
    warnings
        Names of the warnings that it gave.
    wall, cpu
        Seconds of its call alone; conversions to the form that it takes are left out.
    """

    version: str
    per_target: NDArray[np.float64]
    dtype: str
    error: str
    warnings: list[str]
    wall: float
    cpu: float


def ask(cases: Mapping[str, Case], *libraries: str, threads: int = 1) -> dict[str, dict[str, Answer]]:
    """Return the answers to every case of the libraries named, or of all: ``dattri``, ``quanda``, ``torchmetrics``.

    One thread is their better side: on a busy machine of two processors torch's gathers took ten times longer with two.
    """
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"expected published libraries in {FOLDER}, got nothing. Install them: make references")
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
