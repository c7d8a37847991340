"""The fork server: a warm process that never opens a score file, and forks one that does for each.

The service sends single bytes through the control socket, each with two descriptors: a socket with a request in it, as JSON, on
which the child answers; and a pipe, on which the child's exit status is told. A request without ``scores`` only has ground truth
loaded. The fork server ends when the control socket closes, and dies when the service does.
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

from app.scoring.sandbox import child
from app.scoring.sandbox.truths import MOST_TRUTHS, ground_truth, import_everything


class ForkServer:
    """Serves the requests that come through a control socket. It has one thread, since it forks."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._statuses: dict[int, int] = {}
        """Of every child that runs, by its id: the pipe on which its exit status is told."""
        self._wanted: dict[str, None] = {}
        """Benchmarks to load when no file waits, oldest first."""

    def run(self) -> None:
        """Serve until the control socket closes."""
        signal.signal(signal.SIGCHLD, self._reap)
        import_everything()
        while True:
            if self._wanted and not select.select([self._control], [], [], 0)[0]:
                self._load(next(iter(self._wanted)))
                continue
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
            if not descriptors:
                return
            with Connection(descriptors[0]) as service:
                self._serve(json.loads(service.recv_bytes()), service, descriptors[1])

    def _serve(self, request: dict[str, Any], service: Connection, status: int) -> None:
        folder = request["benchmark"]
        if "scores" in request:
            with suppress(Exception):  # the child will fail likewise, and be heard
                ground_truth(folder)
            self._fork(request, service, status)
        else:
            os.close(status)
            self._wanted.pop(folder, None)
            self._wanted[folder] = None
            if len(self._wanted) > MOST_TRUTHS:  # it would have to make room before it was used
                del self._wanted[next(iter(self._wanted))]

    def _load(self, folder: str) -> None:
        del self._wanted[folder]
        try:
            ground_truth(folder)
        except Exception:  # noqa: BLE001 -- who sends a file will be told; the others are served
            sys.stderr.write(
                f"The ground truth in {folder} was not loaded before a file came:\n{traceback.format_exc()}"
            )

    def _fork(self, request: dict[str, Any], service: Connection, status: int) -> None:
        parent = os.getpid()
        # A child may end before it is noted.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            pid = os.fork()
            if pid == 0:
                child.run(request, service, parent)
            self._statuses[pid] = status
        except OSError:  # no more processes, or no memory: said on the log, and the next may be luckier
            os.close(status)
            traceback.print_exc()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def _reap(self, _signal: int, _frame: object) -> None:
        while self._statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            pipe = self._statuses.pop(pid)
            with suppress(BrokenPipeError):  # the service has what it wants
                os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(pipe)
