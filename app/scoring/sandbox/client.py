"""The service's side of scoring: it starts the fork server, sends requests to the fork server, and reads the answers."""

from __future__ import annotations

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

import structlog

from app.errors import DamagedFileError, SandboxError
from app.scoring.sandbox import heartbeat
from app.scoring.sandbox.limits import OUT_OF_MEMORY
from app.scoring.sandbox.part_results import PartResult, unpack
from ldsboard.core.kernel import ROUTE_VARIABLE
from ldsboard.core.parallel import usable_processors
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

GRACE_SECONDS = 5.0
"""Seconds that the service waits for a fork server to end after the socket was closed, and for the exit status of a child."""

MAX_ARRAYS_BYTES = 2**28
"""Largest size of the second message of an answer, the arrays. For 50,000 subsets and 10,000 targets, they take 9 MB."""

INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", ROUTE_VARIABLE)
"""Environment variables that scoring processes inherit. Settings of the server and credentials are not among them."""

EXIT_REASONS = {OUT_OF_MEMORY: "out of memory", -signal.SIGXCPU: "CPU time limit exceeded"}

ROOT = Path(__file__).resolve().parents[3]

log = structlog.get_logger()


@dataclass(eq=False)
class _ForkServer:
    """A fork server that the service started: the process, the control socket, and the receiver of the heartbeats."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    watched: socket.socket
    """A duplicate of the descriptor of `control`. The watching thread reads and closes only this duplicate."""
    heartbeats: heartbeat.Receiver
    """Receives the heartbeats from `watched`."""

    def is_lost(self) -> bool:
        """Wait until the fork server ends (return False) or, without having ended, misses too many heartbeats (return True)."""
        with self.watched:
            try:
                self.heartbeats.receive()
            except (heartbeat.HeartbeatError, heartbeat.LongMessageError):
                return True
            except (EOFError, OSError):
                return False
        return False


class Sandbox:
    """Scores each file in its own process, forked from a fork server that holds the ground truth.

    Several threads can use a sandbox at the same time. A fork server that has died is replaced. A fork server that sends no
    heartbeats is killed and replaced, and a scoring process that sends no heartbeats is killed. Call `start` and `score` only
    from threads that live as long as the service: these methods may start a fork server, and the kernel kills a fork server when
    the thread that started it ends.

    Parameters
    ----------
    threads
        Number of threads that score one file.
    processes
        Number of files that are scored at the same time.
    """

    def __init__(self, threads: int = 1, processes: int = 1) -> None:
        self._threads = threads
        self._processes = processes
        self._lock = threading.RLock()
        self._server: _ForkServer | None = None
        self._scoring: set[heartbeat.Receiver] = set()
        """The receivers of all running scoring processes."""

    @classmethod
    def of(cls, processes: int) -> Sandbox:
        """Return a sandbox for a number of files at the same time, which share the processors of this machine."""
        return cls(max(1, usable_processors() // max(1, processes)), max(1, processes))

    @property
    def pid(self) -> int | None:
        """Process id of the fork server; None if no fork server is running."""
        return self._server.process.pid if self._server else None

    @property
    def is_restarting(self) -> bool:
        """True while no file can be scored because processes are late (see `heartbeat.Receiver.late`).

        This is the case if the fork server is late, or if at least `processes` scoring processes are late.
        """
        server = self._server
        late_processes = sum(receiver.late for receiver in list(self._scoring))
        return (server is not None and server.heartbeats.late) or late_processes >= self._processes

    def start(self) -> None:
        """Start the fork server, unless it was started before, so that its imports begin before the first file arrives."""
        with self._lock:
            if self._server is None:
                self._start()

    def stop(self) -> int | None:
        """End the fork server and all scoring processes; return the fork server's exit status, or None if it was not running."""
        with self._lock:
            if self._server is None:
                return None
            process, control = self._server.process, self._server.control
            # Closing `control` alone would not end the fork server, because the watching thread has another descriptor.
            with control, suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
            try:
                code = process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            self._server = None
            return code

    def preload(self, benchmark: Path) -> None:
        """Ask the fork server to load the ground truth in a folder; do not wait. If no fork server is running, do nothing."""
        with self._lock, suppress(OSError):  # a dead or busy fork server loads the ground truth with the first file
            if self._server is not None:
                _send(self._server.control, {"benchmark": str(benchmark.absolute())}, socket.MSG_DONTWAIT)

    def score(
        self,
        benchmark: Path,
        scores: Path,
        parts: list[str],
        sha256: str | None = None,
        report: Callable[[float], object] | None = None,
    ) -> dict[str, PartResult]:
        """Score a file in a new scoring process; return a result for each name in `parts`.

        Parameters
        ----------
        benchmark
            The folder of the benchmark version.
        scores
            The score file.
        parts
            The parts to score against: ``"public"`` is required; ``"ranking"`` and any ``"reserve"`` are for ranked submissions.
        sha256
            The SHA-256 that the score file must have; None allows any SHA-256.
        report
            Function that gets the fraction of the targets that are scored, in (0, 1], about once a second; not before a second.

        Raises
        ------
        ProblemError
            The file cannot be scored.
        DamagedFileError
            The score file does not have the SHA-256 `sha256`, and was not scored.
        SandboxError
            The scoring process ended without an answer, or was killed: it sent no heartbeats, or a message that is too long.
        """
        request = {"benchmark": str(benchmark.absolute()), "scores": str(scores.absolute()), "parts": parts}
        child, status = self._request(request | {"threads": self._threads, "sha256": sha256})
        receiver = heartbeat.Receiver(child.fileno())
        with child, status:
            try:
                # Until the scoring process exists, the fork server may load ground truth, and its own heartbeats are watched.
                pid = _receive_number(status)
                self._scoring.add(receiver)
                answer = json.loads(receiver.receive(report))
                if "parts" in answer:
                    return unpack(answer["parts"], receiver.receive(report, MAX_ARRAYS_BYTES))
            except heartbeat.HeartbeatError as error:
                _kill(pid, status)
                raise SandboxError("The scoring process sent no heartbeats and was killed.") from error
            except heartbeat.LongMessageError as error:
                _kill(pid, status)
                raise SandboxError("The scoring process sent a message that is too long and was killed.") from error
            except (EOFError, OSError) as error:
                raise SandboxError(f"The scoring process ended without an answer ({_exit_reason(status)}).") from error
            finally:
                self._scoring.discard(receiver)
        if "damaged" in answer:
            raise DamagedFileError(answer["damaged"])
        raise ProblemError.of(Problem.from_dict(answer["problem"]))

    def _request(self, request: dict[str, Any]) -> tuple[Connection, Connection]:
        """Send a request to the fork server; return the connections for the child's answer and for the child's exit status.

        If no fork server was started, or the fork server has died, start a fork server first.
        """
        with self._lock:
            if self._server is not None:
                # Only these errors mean that the fork server is dead. After other errors, such as a lack of descriptors in
                # this process, the fork server still serves other threads.
                with suppress(BrokenPipeError, ConnectionResetError):
                    return _send(self._server.control, request)
                self.stop()
            return _send(self._start().control, request)

    def _start(self) -> _ForkServer:
        """Start a fork server, and a thread that watches the fork server."""
        server = self._launch()
        threading.Thread(target=self._watch, args=[server], name="fork-server-watch", daemon=True).start()
        return server

    def _watch(self, server: _ForkServer) -> None:
        """Watch a fork server. If heartbeats are missing, kill the fork server, start a new one, and watch the new one.

        Return if the fork server ended for another reason, or if another thread replaced the killed fork server first.
        """
        # This thread lives as long as each replacement that it starts; otherwise the kernel would kill the replacement.
        while server.is_lost():
            log.error("fork_server.silent", about="no heartbeats: killed and replaced", pid=server.process.pid)
            server.process.kill()  # before the lock is taken, because a thread with the lock may wait for this fork server
            with self._lock:
                if self._server is not server:
                    return
                self.stop()
                server = self._launch(late=True)

    def _launch(self, *, late: bool = False) -> _ForkServer:
        own_end, server_end = socket.socketpair()
        environment = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        with server_end:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.scoring.sandbox", str(server_end.fileno()), str(os.getpid())],
                pass_fds=[server_end.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},  # a process that forks must have one thread
                cwd=ROOT,
            )
        watched = own_end.dup()
        heartbeats = heartbeat.Receiver(watched.fileno(), starting=True, late=late)
        self._server = _ForkServer(process, own_end, watched, heartbeats)
        return self._server


def _send(control: socket.socket, request: dict[str, Any], flags: int = 0) -> tuple[Connection, Connection]:
    """Send a request to a fork server; return the connection for the child's answer, and the status pipe of the child."""
    child, child_end = Pipe()
    status, status_end = Pipe(duplex=False)
    with child_end, status_end:
        child.send_bytes(json.dumps(request).encode())
        descriptors = array("i", [child_end.fileno(), status_end.fileno()])
        # socket.send_fds is not used, because it ignores the flags before Python 3.12.
        control.sendmsg([b"."], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)], flags)
    return child, status


def _receive_number(status: Connection) -> int:
    """Wait for the next number in a child's status pipe and return the number: first the process id, then the exit status."""
    received = os.read(status.fileno(), heartbeat.NUMBER.size)
    if not received:
        raise EOFError
    (number,) = heartbeat.NUMBER.unpack(received)
    return int(number)


def _kill(pid: int, status: Connection) -> None:
    """Kill a child, even a suspended child.

    Do nothing if the exit status of the child has arrived: another process can have the process id by then.
    """
    if not status.poll(0):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _exit_reason(status: Connection) -> str:
    """Return a text that says how a child ended: a known reason, else the exit status, or that the exit status is unknown."""
    try:
        code = _receive_number(status) if status.poll(GRACE_SECONDS) else None
    except EOFError:
        code = None
    if code is None:
        return "exit status unknown"
    return EXIT_REASONS.get(code, f"exit status {code}")
