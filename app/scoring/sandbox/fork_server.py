"""The fork server: it holds ground truth in memory, and forks a scoring process for each score file.

For each request, the service sends one byte and two descriptors through the control socket. The first descriptor is a socket:
the fork server reads the request from it as JSON, and the child writes the answer to it. The second descriptor is a pipe, to
which the fork server writes two numbers: the child's process id and, later, the child's exit status. A request without ``scores``
only preloads ground truth.

The fork server itself never opens score files. The fork server sends heartbeats through the control socket, ends when the control
socket closes, and dies when the service dies.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from app.scoring.sandbox import scoring_process
from app.scoring.sandbox.heartbeat import BEAT_SECONDS, NUMBER, beat, beating
from app.scoring.sandbox.truths import MAX_GROUND_TRUTHS, load_ground_truth, preload_imports


class ForkServer:
    """Serves the requests of a control socket.

    The process has one thread whenever it forks, because forking with several threads is unsafe. A second thread sends the
    heartbeats while the process loads ground truth.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._status_pipes: dict[int, int] = {}
        """The status pipe of each running child, by the child's process id."""
        self._to_preload: dict[str, None] = {}
        """Folders of the benchmarks to load when no file waits, in the order of the requests."""

    def run(self) -> None:
        """Serve requests until the control socket closes."""
        signal.signal(signal.SIGCHLD, self._reap)
        with beating(self._control.fileno()):
            preload_imports()
        while True:
            beat(self._control.fileno())
            if not select.select([self._control], [], [], 0 if self._to_preload else BEAT_SECONDS)[0]:
                if self._to_preload:
                    self._preload(next(iter(self._to_preload)))
                continue
            try:
                _, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
            except ConnectionResetError:  # the service closed the socket before it had read all heartbeats
                return
            if not descriptors:
                return
            with Connection(descriptors[0]) as service:
                self._serve(json.loads(service.recv_bytes()), service, descriptors[1])

    def _serve(self, request: dict[str, Any], service: Connection, status: int) -> None:
        folder = request["benchmark"]
        if "scores" in request:
            with suppress(Exception):  # a failed load fails in the child again, and the child reports it
                self._load(folder)
            self._fork(request, service, status)
        else:
            os.close(status)
            self._to_preload.pop(folder, None)
            self._to_preload[folder] = None
            # If more benchmarks were loaded, the cache would drop the oldest benchmark before a file needs it.
            if len(self._to_preload) > MAX_GROUND_TRUTHS:
                del self._to_preload[next(iter(self._to_preload))]

    def _preload(self, folder: str) -> None:
        del self._to_preload[folder]
        try:
            self._load(folder)
        except Exception:  # noqa: BLE001 -- evaluations of this benchmark report the error; the server goes on
            sys.stderr.write(f"The ground truth in {folder} could not be preloaded:\n{traceback.format_exc()}")

    def _load(self, folder: str) -> None:
        with beating(self._control.fileno()):
            load_ground_truth(folder)

    def _fork(self, request: dict[str, Any], service: Connection, status: int) -> None:
        parent = os.getpid()
        # SIGCHLD is blocked, because a child may end before the status pipe of the child is registered.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            pid = os.fork()
            if pid == 0:
                scoring_process.run(request, service, parent)
            self._status_pipes[pid] = status
            _write_number(status, pid)
        except OSError:  # no process or no memory left: the service sees a closed pipe, and later requests may succeed
            os.close(status)
            traceback.print_exc()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _reap(self, _signal: int, _frame: object) -> None:
        while self._status_pipes:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pipe = self._status_pipes.pop(pid)
            _write_number(pipe, os.waitstatus_to_exitcode(status))
            os.close(pipe)


def _write_number(status_pipe: int, number: int) -> None:
    with suppress(BrokenPipeError):  # the service has read the answer and closed the pipe
        os.write(status_pipe, NUMBER.pack(number))
