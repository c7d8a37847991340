"""Lock files: only one process at a time may change a data folder. And the number that tells a data folder from its copies."""

from __future__ import annotations

import os
import secrets
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from ldsboard.drafts import atomic_write

if sys.platform != "win32":  # servers on Windows cannot share a folder
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import AcquireReturnProxy

ID_FILE = "folder-id"
"""Name of the file with the random number of a data folder. Backups leave it out."""


def folder_id(data_dir: Path, *, create: bool) -> int | None:
    """Return the number of a data folder, 32 bits with a sign: all processes that see the folder agree on it.

    A missing number is created, or is None without `create`.
    """
    path = data_dir / ID_FILE
    if create and not path.exists():
        with atomic_write(path, keep_existing=True) as file:
            file.write(secrets.token_hex().encode())
    if not path.exists():
        return None
    return int.from_bytes(sha256(path.read_bytes()).digest()[:4], signed=True)


def lock_file(path: Path) -> AcquireReturnProxy[FileLock]:
    """Lock a file for this process without waiting, and return a context manager that holds the lock.

    The file is locked when the function returns. The end of the ``with`` block, or of the process, releases the lock. Python
    also releases the lock when nothing refers to the returned object any more, so the caller must keep this object.

    Raises
    ------
    filelock.Timeout
        The file is locked already, by this or by another process.
    """
    return FileLock(path, thread_local=False).acquire(blocking=False)


def lock_data_folder(data_dir: Path, hint: str = "") -> AcquireReturnProxy[FileLock]:
    """Lock a data folder for this process without waiting, and return a context manager that holds the lock.

    The folder is locked when the function returns. The end of the ``with`` block, or of the process, releases the lock. Python
    also releases the lock when nothing refers to the returned object any more, so the caller must keep this object.

    Raises
    ------
    RuntimeError
        Another process uses the folder. A second server would expire the uploads of the first. The message ends with `hint`.
    """
    try:
        return lock_file(data_dir / "server.lock")
    except Timeout as error:
        raise _in_use(data_dir, hint) from error


def share_data_folder(data_dir: Path) -> SharedLock:
    """Lock a data folder for servers that share it; raise RuntimeError if a process uses the folder alone."""
    try:
        return SharedLock(data_dir / "server.lock")
    except BlockingIOError as error:
        raise _in_use(data_dir) from error


class SharedLock:
    """A lock on a file that excludes the locks of `lock_file`, and that several processes can hold.

    Raises
    ------
    BlockingIOError
        A process holds the lock of `lock_file`.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Release the lock; a process that is just being started has the file open too, so closing alone does not suffice."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def _in_use(data_dir: Path, hint: str = "") -> RuntimeError:
    return RuntimeError(
        f"A server, a worker or another command uses the data folder {data_dir.absolute()}. "
        f"Stop all servers and workers that use it{hint}."
    )
