"""The fork server: it holds ground truth in memory, and forks a scoring process for each score file. It never opens score files.

For each request the service sends one byte through the control socket, with two descriptors: a socket that holds the request as
JSON and takes the child's answer, and a pipe for the child's exit status. A request without ``scores`` only preloads ground
truth. The fork server ends when the control socket closes, and dies when the service dies.
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
from app.scoring.sandbox.truths import MAX_GROUND_TRUTHS, load_ground_truth, preload_imports


class ForkServer:
    """Serves the requests of a control socket. It has one thread, because forking is unsafe with several."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._status_pipes: dict[int, int] = {}
        """Process id of each running child to the pipe for its exit status."""
        self._to_preload: dict[str, None] = {}
        """Benchmarks to load when no file waits, in the order of their requests."""

    def run(self) -> None:
        """Serve until the control socket closes."""
        signal.signal(signal.SIGCHLD, self._reap)
        preload_imports()
        while True:
            if self._to_preload and not select.select([self._control], [], [], 0)[0]:
                self._preload(next(iter(self._to_preload)))
                continue
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
            if not descriptors:
                return
            with Connection(descriptors[0]) as service:
                self._serve(json.loads(service.recv_bytes()), service, descriptors[1])

    def _serve(self, request: dict[str, Any], service: Connection, status: int) -> None:
        folder = request["benchmark"]
        if "scores" in request:
            with suppress(Exception):  # loading fails in the child again, and the child's error is reported
                load_ground_truth(folder)
            self._fork(request, service, status)
        else:
            os.close(status)
            self._to_preload.pop(folder, None)
            self._to_preload[folder] = None
            # The cache would drop the oldest benchmark before it was used.
            if len(self._to_preload) > MAX_GROUND_TRUTHS:
                del self._to_preload[next(iter(self._to_preload))]

    def _preload(self, folder: str) -> None:
        del self._to_preload[folder]
        try:
            load_ground_truth(folder)
        except Exception:  # noqa: BLE001 -- evaluations of this benchmark will report the error; others must go on
            sys.stderr.write(f"The ground truth in {folder} could not be preloaded:\n{traceback.format_exc()}")

    def _fork(self, request: dict[str, Any], service: Connection, status: int) -> None:
        parent = os.getpid()
        # Blocked, because a child may end before its status pipe is registered.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            pid = os.fork()
            if pid == 0:
                scoring_process.run(request, service, parent)
            self._status_pipes[pid] = status
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
            with suppress(BrokenPipeError):  # the service has read the answer and closed the pipe
                os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(pipe)
