"""Receiving a score file or an upload part: the bytes are written to a local file and hashed as they arrive."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from app.errors import disk_full
from app.submissions import scratch
from ldsboard.drafts import sync_folder
from ldsboard.formats.score_files import HEADER_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SYNC_BYTES = 1 << 25
"""Number of received bytes after which a file is synchronised to the disk in the background."""


class Arrival:
    """A file that is being received and hashed. At the end of the ``with`` block, the file is deleted unless `keep` was called.

    Parameters
    ----------
    check_free_space
        Function to call with the number of bytes before each write: other files take space while this file arrives.

    Attributes
    ----------
    path
        Path of the file until `keep` moves the file. The file is complete only after `flush`.
    size
        Number of bytes received so far.
    start
        The first bytes of the file, at most `HEADER_LIMIT` bytes.
    sent_as
        Key under which an object store holds the bytes already; None if it does not.
    """

    def __init__(self, path: Path, check_free_space: Callable[[int], None]) -> None:
        self.path = path
        self._check_free_space = check_free_space
        self._digest = hashlib.sha256()
        with _disk_errors():
            self._file = scratch.create(path)
        self._sync_thread = threading.Thread()
        self._unsynced_bytes = 0
        self._sync_error: OSError | None = None
        self.size = 0
        self.start = b""
        self.sent_as: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._wait_for_sync()
        try:
            with _disk_errors():
                self._file.close()  # writes the rest of the buffer, so a full disk is possible
        finally:
            self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Append the next bytes to the file and to the hash; raise ``internal.full`` if the disk would be too full."""
        self._check_free_space(len(chunk))
        with _disk_errors():
            self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._unsynced_bytes += len(chunk)
        if self._unsynced_bytes >= SYNC_BYTES and not self._sync_thread.is_alive():
            # The file is synchronised while further bytes arrive, so that `flush` is faster.
            self._unsynced_bytes = 0
            self._sync_thread = threading.Thread(target=self._sync_in_background, name="synchronising")
            self._sync_thread.start()
        if len(self.start) < HEADER_LIMIT:
            self.start += chunk[: HEADER_LIMIT - len(self.start)]

    def _sync_in_background(self) -> None:
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._sync_error = error  # the kernel reports a write error only once, so `flush` must raise it

    def _wait_for_sync(self) -> None:
        if self._sync_thread.ident is not None:
            self._sync_thread.join()

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes received so far, as hexadecimal digits."""
        return self._digest.hexdigest()

    def flush(self) -> None:
        """Synchronise all received bytes to the disk."""
        self._wait_for_sync()
        with _disk_errors():
            if self._sync_error is not None:
                raise self._sync_error
            self._file.flush()
            os.fsync(self._file.fileno())

    def keep(self, target: Path) -> None:
        """Move the flushed file to `target`, and synchronise the folder of `target` and the parent of that folder to the disk.

        Call this method in the write transaction that stores the reference to the file. Outside a write transaction, a
        clean-up could delete the file before the database refers to the file.
        """
        with _disk_errors():
            target.parent.mkdir(exist_ok=True)
            self.path.replace(target)
            sync_folder(target.parent)
            sync_folder(target.parent.parent)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Replace an OSError in the block by ``internal.full`` if the error means a full disk or an exceeded disk quota."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full() from error
        raise
