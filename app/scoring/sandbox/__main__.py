"""The start of the fork server: bound to its parent before anything that takes time is imported."""

from __future__ import annotations

import signal
import socket
import sys

from app.scoring.sandbox.lifeline import die_with

if __name__ == "__main__":
    # Ctrl-C in a terminal, its closing, or the end of a unit reaches every process there; the service decides when this one ends.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    die_with(int(sys.argv[2]))
    from app.scoring.sandbox.forking import ForkServer

    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()
