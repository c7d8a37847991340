"""Queries about the fork server of a service: its process id, whether it has started, and its threads."""

from __future__ import annotations

from contextlib import suppress

import psutil

from tests.app.service import until
from tests.processes import alive, children


def has_started(pid: int) -> bool:
    """Return whether a fork server has bound itself to its parent; it imports numpy after that."""
    with suppress(psutil.NoSuchProcess):
        return any("_multiarray_umath" in mapped.path for mapped in psutil.Process(pid).memory_maps())
    return False


def thread_count(pid: int) -> int:
    """Return the number of threads of a process, including threads that Python does not know."""
    return int(psutil.Process(pid).num_threads())


def fork_server(service: int) -> int:
    """Wait until the only child of a service, its fork server, has started, and return its process id."""

    def look() -> int | None:
        found = [pid for pid in children(service) if alive(pid)]
        return found[0] if len(found) == 1 and has_started(found[0]) else None

    return until(look, f"one fork server of service {service}")
