"""One process at a time may change what lies in a data folder."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path


def hold(data_dir: Path) -> TextIO:
    """Return what holds a data folder for this process, until it is closed or the process ends.

    Raises
    ------
    RuntimeError
        Another process holds it, and would lose its uploads to this one.
    """
    lock = (data_dir / "server.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise RuntimeError(
            f"expected a data folder of its own, got {data_dir.absolute()}, which another server uses. "
            "End that one, or set LDSBOARD_DATA_DIR."
        ) from error
    return lock
