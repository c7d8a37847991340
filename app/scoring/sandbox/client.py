"""The service's side of scoring: it runs the fork server and sends it requests."""

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
"""Seconds that the fork server has to exit after its socket is closed, and to report a child's exit status."""

INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")
"""Environment variables that scoring processes inherit: no settings and no credentials."""

EXIT_REASONS = {OUT_OF_MEMORY: "out of memory", -signal.SIGXCPU: "CPU time limit exceeded"}

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class PartResult:
    """The result of one part of the subsets: scalars, psi (M,) and rho (N,), float64."""

    numbers: dict[str, Any]
    influence: NDArray[np.float64]
    """psi, (M,)."""
    per_target: NDArray[np.float64]
    """rho, (N,)."""
    attributions: Attributions | None = None
    """For the public part only."""


class Sandbox:
    """Scores each file in its own process, forked from a fork server that holds the ground truth.

    Several threads may use a sandbox at the same time. A fork server that has died is replaced. The kernel kills the fork server
    when the thread that started it ends, so only threads that live as long as the service may call `start` and `score`.

    Parameters
    ----------
    threads
        Number of threads for scoring one file.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the fork server; None if it is not running."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the fork server, so that its imports are done before the first file arrives."""
        with self._lock:
            if self._control is None:
                self._start()

    def stop(self) -> int | None:
        """End the fork server and all its scoring processes; return its exit status, or None if it was not running."""
        with self._lock:
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

    def preload(self, benchmark: Path) -> None:
        """Ask a running fork server to preload the ground truth in a folder. Does not wait."""
        with self._lock, suppress(OSError):  # a dead or busy fork server loads the ground truth with the first file
            if self._control is not None:
                _send(self._control, {"benchmark": str(benchmark.absolute())}, socket.MSG_DONTWAIT)

    def score(self, benchmark: Path, scores: Path, parts: list[str]) -> dict[str, PartResult]:
        """Score a file.

        Parameters
        ----------
        benchmark
            The folder of the benchmark version.
        scores
            The score file.
        parts
            Parts of the subsets to score against; ``"public"`` must be among them.

        Raises
        ------
        ProblemError
            The file cannot be scored.
        SandboxError
            The process ended without an answer.
        """
        request = {"benchmark": str(benchmark.absolute()), "scores": str(scores.absolute()), "parts": parts}
        child, status = self._request(request | {"threads": self._threads})
        with child, status:
            try:
                answer = json.loads(child.recv_bytes())
                if "problem" not in answer:
                    return _unpack(answer["parts"], child.recv_bytes())
            except (EOFError, OSError) as error:
                raise SandboxError(f"The scoring process ended without an answer ({_exit_reason(status)}).") from error
        raise ProblemError.of(Problem.from_dict(answer["problem"]))

    def _request(self, request: dict[str, Any]) -> tuple[Connection, Connection]:
        """Send a request; start a fork server first if none is running or the last one has died."""
        with self._lock:
            if self._control is not None:
                # Only these errors mean that the fork server is dead. After others, such as a lack of descriptors in this
                # process, it still serves other threads.
                with suppress(BrokenPipeError, ConnectionResetError):
                    return _send(self._control, request)
                self.stop()
            return _send(self._start(), request)

    def _start(self) -> socket.socket:
        own_end, server_end = socket.socketpair()
        environment = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        with server_end:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.scoring.sandbox", str(server_end.fileno()), str(os.getpid())],
                pass_fds=[server_end.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},  # a process that forks must have one thread
                cwd=ROOT,
            )
        self._control = own_end
        return own_end


def _send(control: socket.socket, request: dict[str, Any], flags: int = 0) -> tuple[Connection, Connection]:
    """Send a request; return the connections for the child's answer and for its exit status."""
    child, child_end = Pipe()
    status, status_end = Pipe(duplex=False)
    with child_end, status_end:
        child.send_bytes(json.dumps(request).encode())
        descriptors = array("i", [child_end.fileno(), status_end.fileno()])
        # Not socket.send_fds, which ignores the flags before Python 3.12.
        control.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)], flags)
    return child, status


def _exit_reason(exit_status: Connection) -> str:
    """Return a text that says how a child ended. The exit status is unknown if the fork server died too."""
    received = os.read(exit_status.fileno(), 16) if exit_status.poll(GRACE_SECONDS) else b""
    if not received:
        return "exit status unknown"
    return EXIT_REASONS.get(status := int(received), f"exit status {status}")


def _unpack(parts: dict[str, Any], packed: bytes) -> dict[str, PartResult]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        shown = {"public": Attributions(**{name: arrays[f"attributions.{name}"] for name in Attributions._fields})}
        return {
            name: PartResult(numbers, arrays[f"{name}.influence"], arrays[f"{name}.per_target"], shown.get(name))
            for name, numbers in parts.items()
        }
