"""Start the fork server. It is bound to its parent before any slow import, so that it cannot outlive the parent."""

from __future__ import annotations

import signal
import socket
import sys

from app.scoring.sandbox.lifeline import die_with_parent

if __name__ == "__main__":
    # Ctrl-C, a closed terminal and a stopped systemd unit signal every process of the group; the service alone ends this process.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    die_with_parent(int(sys.argv[2]))
    from app.scoring.sandbox.fork_server import ForkServer

    ForkServer(socket.socket(fileno=int(sys.argv[1]))).run()
