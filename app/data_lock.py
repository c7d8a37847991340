"""One process at a time may change what lies in a data folder."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path


def take(path: Path) -> TextIO:
    """Return what holds a file for this process, until it is closed or the process ends, or raise BlockingIOError."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def hold(data_dir: Path) -> TextIO:
    """Return what holds a data folder for this process, until it is closed or the process ends.

    Raises
    ------
    RuntimeError
        Another process holds it, and would lose its uploads to this one.
    """
    try:
        return take(data_dir / "server.lock")
    except OSError as error:
        raise RuntimeError(
            f"expected a data folder of its own, got {data_dir.absolute()}, which another server uses. "
            "End that one, or set LDSBOARD_DATA_DIR."
        ) from error
