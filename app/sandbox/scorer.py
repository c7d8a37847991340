"""The parent's side of a scoring process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import SandboxError
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

GRACE_SECONDS = 5.0
"""How long a scoring process may take to end after its pipe closed, before it is killed."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scored:
    """What a scoring process found for one part of the subsets: its numbers, psi (M,) and rho (N,), float64."""

    numbers: dict[str, Any]
    influence: NDArray[np.float64]
    per_target: NDArray[np.float64]


class Scorer:
    """One scoring process, started when first needed and replaced after it failed or met a bad file.

    Used by one thread, which must live as long as the process does: the kernel ends the child with the thread that made it.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process, so that its imports are done before the first file comes."""
        ours, theirs = Pipe()
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.sandbox", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment | {"OPENBLAS_NUM_THREADS": str(os.cpu_count() or 1)},
            cwd=ROOT,
        )
        theirs.close()
        self._pipe = ours

    @property
    def pid(self) -> int | None:
        """The id of the scoring process, if one runs."""
        return self._process.pid if self._process else None

    def score(self, benchmark: Path, scores: Path, parts: list[str]) -> dict[str, Scored]:
        """Score the file `scores` against parts of the benchmark in the folder `benchmark`.

        Raises
        ------
        ProblemError
            The file cannot be scored.
        SandboxError
            The process ended without an answer.
        """
        if self._process is None:
            self.start()
        assert self._pipe is not None  # noqa: S101 -- start() sets both
        request = {"benchmark": str(benchmark.absolute()), "scores": str(scores.absolute()), "parts": parts}
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            answer = json.loads(self._pipe.recv_bytes())
            if "problem" not in answer:
                return _unpack(answer["parts"], self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            code = self.stop()
            raise SandboxError(f"the scoring process ended with status {code} before it answered") from error
        self.stop()
        raise ProblemError.of(Problem.from_dict(answer["problem"]))

    def stop(self) -> int | None:
        """End the process, if one runs, and return its exit status."""
        if self._process is None or self._pipe is None:
            return None
        self._pipe.close()
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = self._pipe = None
        return code


def _unpack(parts: dict[str, Any], packed: bytes) -> dict[str, Scored]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return {
            name: Scored(numbers, arrays[f"{name}.influence"], arrays[f"{name}.per_target"])
            for name, numbers in parts.items()
        }
