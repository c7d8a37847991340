"""Lock files: only one process at a time may change a data folder."""

from __future__ import annotations

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
        raise RuntimeError(
            f"Another server uses the data folder {data_dir.absolute()}. "
            "Stop that server, or set LDSBOARD_DATA_DIR to another folder."
        ) from error
