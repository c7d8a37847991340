"""Ports for servers that a test starts as processes."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reserved_port() -> Iterator[int]:
    """Give a port of this machine that nobody else is given until the end.

    The socket that holds it never listens: a server that sets SO_REUSEADDR, as ours does, may listen there, again after it was
    killed too, and until it does connections are refused.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
