"""The service's side of scoring: a fork server, and one child of it for each file."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from array import array
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import SandboxError
from app.scoring.sandbox.attributions import Attributions
from app.scoring.sandbox.limits import OUT_OF_MEMORY
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

GRACE_SECONDS = 5.0
"""How long the fork server may take to end after its socket closed, before it is killed; and to tell how a child ended."""

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
"""All that scoring processes are given of the environment: there is no setting and no credential in it."""

ENDINGS = {
    OUT_OF_MEMORY: "for want of memory",
    -signal.SIGXCPU: "at its limit of processor time",
}

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Scored:
    """What a scoring process found for one part of the subsets: its numbers, psi (M,) and rho (N,), float64."""

    numbers: dict[str, Any]
    influence: NDArray[np.float64]
    per_target: NDArray[np.float64]
    attributions: Attributions | None = None
    """What is kept to look at; of the public part alone."""


class Scorer:
    """Scores files, each in a process of its own, forked from a server that has the ground truth loaded.

    May be used by several threads at once. The server is replaced when it is found dead. The kernel ends it with the thread that
    started it, so `start` and `score` are for threads that live as long as the service does.

    Parameters
    ----------
    threads
        How many threads each file may take.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """The id of the fork server, if it was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the fork server, so that its imports are done before the first file comes."""
        with self._lock:
            if self._control is None:
                self._start()

    def stop(self) -> int | None:
        """End the fork server, and with it all scoring, if it was started; return its exit status."""
        with self._lock:
            return self._stop()

    def prepare(self, benchmark: Path) -> None:
        """Have the ground truth in a folder loaded before a file comes; waits for nothing, and starts nothing."""
        with self._lock, suppress(OSError):  # dead, or far behind: loaded when a file comes
            if self._control is not None:
                _send(self._control, {"benchmark": str(benchmark.absolute())}, socket.MSG_DONTWAIT)

    def score(self, benchmark: Path, scores: Path, parts: list[str]) -> dict[str, Scored]:
        """Score the file `scores` against parts of the benchmark in the folder `benchmark`, the public one among them.

        Raises
        ------
        ProblemError
            The file cannot be scored.
        SandboxError
            The process ended without an answer.
        """
        request = {"benchmark": str(benchmark.absolute()), "scores": str(scores.absolute()), "parts": parts}
        child, status = self._ask(request | {"threads": self._threads})
        with child, status:
            try:
                answer = json.loads(child.recv_bytes())
                if "problem" not in answer:
                    return _unpack(answer["parts"], child.recv_bytes())
            except (EOFError, OSError) as error:
                raise SandboxError(f"the scoring process ended {_ending(status)} before it answered") from error
        raise ProblemError.of(Problem.from_dict(answer["problem"]))

    def _ask(self, request: dict[str, Any]) -> tuple[Connection, Connection]:
        """Send a request, to a new fork server where there is none or it has died."""
        with self._lock:
            if self._control is not None:
                # No other error says that the fork server is dead: without descriptors of our own, say, it serves others still.
                with suppress(BrokenPipeError, ConnectionResetError):
                    return _send(self._control, request)
                self._stop()
            return _send(self._start(), request)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.scoring.sandbox", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},  # what forks must have one thread
                cwd=ROOT,
            )
        self._control = ours
        return ours

    def _stop(self) -> int | None:
        if self._process is None or self._control is None:
            return None
        self._control.close()
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = self._control = None
        return code


def _send(control: socket.socket, request: dict[str, Any], flags: int = 0) -> tuple[Connection, Connection]:
    """Send a request; return where the child answers, and where its exit status will be told."""
    child, theirs = Pipe()
    status, told = Pipe(duplex=False)
    with theirs, told:
        child.send_bytes(json.dumps(request).encode())
        descriptors = array("i", [theirs.fileno(), told.fileno()])
        # Not socket.send_fds, which forgets the flags before Python 3.12.
        control.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)], flags)
    return child, status


def _ending(exit_status: Connection) -> str:
    """Say how a child ended, if its fork server lived to see it."""
    told = os.read(exit_status.fileno(), 16) if exit_status.poll(GRACE_SECONDS) else b""
    if not told:
        return "without a status"
    return ENDINGS.get(status := int(told), f"with status {status}")


def _unpack(parts: dict[str, Any], packed: bytes) -> dict[str, Scored]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        attributions = Attributions(**{name: arrays[f"attributions.{name}"] for name in Attributions._fields})
        return {
            name: Scored(
                numbers,
                arrays[f"{name}.influence"],
                arrays[f"{name}.per_target"],
                attributions if name == "public" else None,
            )
            for name, numbers in parts.items()
        }
