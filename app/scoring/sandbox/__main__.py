"""Start the fork server. The process is bound to its parent before any slow import, so that it cannot outlive the parent."""

from __future__ import annotations

import signal
import socket
import sys

from app.scoring.sandbox.heartbeat import beat, beating
from app.scoring.sandbox.lifeline import die_with_parent

if __name__ == "__main__":
    # Ctrl-C, a closed terminal and a stopped systemd unit signal every process of the group. These signals are ignored, because
    # only the service ends this process.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    die_with_parent(int(sys.argv[2]))
    control = socket.socket(fileno=int(sys.argv[1]))
    beat(control.fileno())
    with beating(control.fileno()):
        from app.scoring.sandbox.fork_server import ForkServer
    ForkServer(control).run()
