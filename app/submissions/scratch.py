"""Scratch files: each is locked by the process that uses it, so that what a killed process has left can be told from the rest.

Servers and workers can share a scratch folder. The operating system releases a lock when the process ends that holds it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


def create(path: Path) -> BinaryIO:
    """Create a scratch file, and return it open for writing; `delete_abandoned` leaves the file alone until it is closed."""
    while True:
        file = path.open("xb")
        if sys.platform == "win32":
            return file  # Windows does not let anybody delete an open file
        with suppress(OSError):  # the file system has no locks, so no file there counts as abandoned
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # deleted by a clean-up between the first two calls


def delete_abandoned(folder: Path) -> None:
    """Delete the files of a scratch folder that no process has open."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process deletes its own file, or those of a third
            if path.is_file():
                _delete_if_abandoned(path)


def _delete_if_abandoned(path: Path) -> None:
    if sys.platform == "win32":
        with suppress(PermissionError):
            path.unlink()
        return
    with path.open("r+b") as file, suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
