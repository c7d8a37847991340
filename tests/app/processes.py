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
    """Tell whether a scoring process is past its start, where it was bound to its parent: numpy comes after that."""
    try:
        return "_multiarray_umath" in (Path("/proc") / str(pid) / "maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def scoring_process(server: int) -> int:
    """Return the one child of a server, as soon as it is ready to be given work."""

    def look() -> int | None:
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        children = [pid for pid in pids if alive(pid) and (_status(pid) or ("", 0))[1] == server]
        return children[0] if len(children) == 1 and begun(children[0]) else None

    return until(look, f"one scoring process of server {server}")


def stop(pid: int) -> None:
    """Stop a process and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: (_status(pid) or "?")[0] == "T", f"process {pid} standing still")
