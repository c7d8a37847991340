"""A process whose name server never answers: it starts a sender, stops it during a lookup, and ends.

Usage: python -m tests.app.feedback.silent_name_server DATABASE_URL

Prints the names of the threads of webhooks that are left after the stop, as a JSON list.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

from app.db.sessions import Database
from app.feedback.addresses import Addresses
from app.feedback.sender import Sender

ASKED = threading.Event()


def _never_answer(*_: Any, **__: Any) -> Any:
    ASKED.set()
    threading.Event().wait()


def main() -> None:
    """Run the sender until it has asked the name server."""
    socket.getaddrinfo = _never_answer
    sender = Sender(Database(sys.argv[1]), Addresses(frozenset()), "https://ldsboard.example")
    sender.start()
    ASKED.wait()
    sender.stop()
    sys.stdout.write(json.dumps([thread.name for thread in threading.enumerate() if "webhook" in thread.name]))


if __name__ == "__main__":
    main()
