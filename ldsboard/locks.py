"""Locks of files, which show that a process is still running: the operating system releases a lock when its process ends."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
"""Errors for a lock that another process or block holds; the last two are those of Windows."""


@contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a file during a block, and create the file if it is missing; the file stays after the block.

    Parameters
    ----------
    path
        The lock file.
    wait
        Whether to wait until another holder releases the lock.

    Yields
    ------
    bool
        True if this block holds the lock; False if another process or block holds the lock. True is also yielded if no file can
        be locked there, for instance because the file system has no locks: the caller then goes on without a lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield True
        return
    try:
        yield _take(descriptor, wait=wait)
    finally:
        _release(descriptor)


def _take(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file, and return whether the caller may go on.

    If another process or block holds the lock, wait for the lock with `wait`, and return False without `wait`. If the file
    cannot be locked for another reason, return True.
    """
    while True:
        try:
            _request(descriptor, wait=wait)
        except OSError as error:
            if error.errno in HELD and wait:
                continue
            return error.errno not in HELD
        return True


def _request(descriptor: int, *, wait: bool) -> None:
    """Ask the operating system to lock an open file; raise an OSError if the file is not locked.

    With `wait`, the operating system waits until the lock is free; Windows raises the error after ten seconds.
    """
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _release(descriptor: int) -> None:
    """Unlock and close a file.

    On Linux and macOS, closing alone would not unlock it at once: a process that another thread is starting has the file open,
    with the same lock, until its program runs.
    """
    if sys.platform != "win32":
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
