"""What the kernel knows of processes: whose children they are, and whether they run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.app.service import until


def _status(pid: int) -> tuple[str, int] | None:
    """Return the state letter and the parent of a process, or None if there is no such process."""
    try:
        # After the command in parentheses, which may hold anything.
        state, parent = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def alive(pid: int) -> bool:
    """Tell whether a process is there and not merely waiting to be reaped."""
    status = _status(pid)
    return status is not None and status[0] not in "ZX"


def begun(pid: int) -> bool:
    """Tell whether a fork server is past its start, where it was bound to its parent: numpy comes after that."""
    try:
        return "_multiarray_umath" in (Path("/proc") / str(pid) / "maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(parent: int) -> set[int]:
    """Return the children of a process, those included that only wait to be reaped."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return {pid for pid in pids if (_status(pid) or ("", 0))[1] == parent}


def threads(pid: int) -> int:
    """Return how many threads a process has, those included that Python knows nothing of."""
    return len(list((Path("/proc") / str(pid) / "task").iterdir()))


def fork_server(service: int) -> int:
    """Return the one child of a service, as soon as it is ready to be given work."""

    def look() -> int | None:
        found = [pid for pid in children(service) if alive(pid)]
        return found[0] if len(found) == 1 and begun(found[0]) else None

    return until(look, f"one fork server of service {service}")


def stop(pid: int) -> None:
    """Stop a process and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: (_status(pid) or "?")[0] == "T", f"process {pid} standing still")
