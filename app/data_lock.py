"""Lock files: only one process at a time may change a data folder."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path


def lock_file(path: Path) -> TextIO:
    """Lock a file for this process and return it open; closing it, or the end of the process, releases the lock.

    Raises
    ------
    BlockingIOError
        Another process has locked the file.
    """
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock


def lock_data_folder(data_dir: Path) -> TextIO:
    """Lock a data folder for this process; return the open lock file, and closing it releases the lock.

    Raises
    ------
    RuntimeError
        Another server uses the folder. A second server would expire the uploads of the first.
    """
    try:
        return lock_file(data_dir / "server.lock")
    except OSError as error:
        raise RuntimeError(
            f"Another server uses the data folder {data_dir.absolute()}. "
            "Stop that server, or set LDSBOARD_DATA_DIR to another folder."
        ) from error
