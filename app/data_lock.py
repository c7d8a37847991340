"""Lock files: only one process at a time may change a data folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import AcquireReturnProxy


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


def lock_data_folder(data_dir: Path) -> AcquireReturnProxy[FileLock]:
    """Lock a data folder for this process without waiting, and return a context manager that holds the lock.

    The folder is locked when the function returns. The end of the ``with`` block, or of the process, releases the lock. Python
    also releases the lock when nothing refers to the returned object any more, so the caller must keep this object.

    Raises
    ------
    RuntimeError
        Another server uses the folder. A second server would expire the uploads of the first.
    """
    try:
        return lock_file(data_dir / "server.lock")
    except Timeout as error:
        raise _in_use(data_dir) from error


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
        import fcntl  # noqa: PLC0415 -- does not exist on Windows, where servers cannot share a folder

        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def _in_use(data_dir: Path) -> RuntimeError:
    return RuntimeError(
        f"Another server uses the data folder {data_dir.absolute()}. "
        "Stop that server, or set LDSBOARD_DATA_DIR to another folder."
    )
