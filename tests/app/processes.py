"""What the system knows of the processes that score: which one a service has started, whether it has begun, and its threads."""

from __future__ import annotations

from contextlib import suppress

import psutil

from tests.app.service import until
from tests.processes import alive, children


def begun(pid: int) -> bool:
    """Tell whether a fork server is past its start, where it was bound to its parent: numpy comes after that."""
    with suppress(psutil.NoSuchProcess):
        return any("_multiarray_umath" in mapped.path for mapped in psutil.Process(pid).memory_maps())
    return False


def threads(pid: int) -> int:
    """Return how many threads a process has, those included that Python knows nothing of."""
    return int(psutil.Process(pid).num_threads())


def fork_server(service: int) -> int:
    """Return the one child of a service, as soon as it is ready to be given work."""

    def look() -> int | None:
        found = [pid for pid in children(service) if alive(pid)]
        return found[0] if len(found) == 1 and begun(found[0]) else None

    return until(look, f"one fork server of service {service}")
