"""The uploaded files, in a folder, each under the sha256 of its content.

What is still arriving lies in a corner of that folder: files that are being received, under random names, and the parts of
started uploads, in a folder of their upload. Only the parts outlive the process that received them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from app.db.base import random_id
from app.errors import no_room
from ldsboard.drafts import sync_folder
from ldsboard.formats import HEADER_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

READ_BYTES = 1 << 20

SYNC_BYTES = 1 << 25
"""What is received before it is sent on its way to the disk."""


class Storage:
    """A folder of files, and a corner of it for those still arriving.

    Parameters
    ----------
    folder
        Created if need be.
    spare
        Bytes of the disk that uploads leave free, for the database among others.
    """

    def __init__(self, folder: Path, spare: int = 0) -> None:
        self.folder = folder.absolute()
        self._arriving = self.folder / "arriving"
        self._arriving.mkdir(parents=True, exist_ok=True)
        self._spare = spare

    def path(self, sha256: str) -> Path:
        """Return where the file with this content is, or would be."""
        return self.folder / sha256[:2] / sha256

    def part(self, upload: str, number: int) -> Path:
        """Return where a part of an upload is, or would be."""
        return self._arriving / upload / str(number)

    def check_room(self, size: int) -> None:
        """Raise ``internal.full`` unless the disk has room for so many bytes more."""
        if shutil.disk_usage(self.folder).free < size + self._spare:
            raise no_room(f"room for {size} bytes")

    def receive(self) -> Arrival:
        """Begin to receive a file."""
        return Arrival(self._arriving / random_id())

    def join(self, upload: str, parts: int) -> Iterator[bytes]:
        """Yield the bytes of all parts of an upload, in order."""
        for number in range(parts):
            with self.part(upload, number).open("rb") as file:
                while chunk := file.read(READ_BYTES):
                    yield chunk

    def discard_arriving(self) -> None:
        """Delete what a killed process left half received; parts that had arrived stay."""
        for path in self._arriving.iterdir():
            if path.is_file():
                path.unlink()

    def uploads(self) -> list[str]:
        """Return the ids of the uploads that have parts here."""
        return [path.name for path in self._arriving.iterdir() if path.is_dir()]

    def discard_parts(self, upload: str) -> None:
        """Delete the parts of an upload."""
        shutil.rmtree(self._arriving / upload, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the sha256 of every file that was kept."""
        return [path.name for path in self.folder.glob("??/*")]

    def delete(self, sha256: str) -> None:
        """Delete the file with this content, if it is there."""
        self.path(sha256).unlink(missing_ok=True)


class Arrival:
    """A file being received: hashed as it comes, and gone at the end of the block unless it was kept.

    ``start`` holds its first bytes, `HEADER_LIMIT` of them at most; ``path`` is where all of them are, once flushed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        with _disk():
            self._file = path.open("xb")
        self._syncing = threading.Thread()
        self._unsynced = 0
        self._lost: OSError | None = None
        self.size = 0
        self.start = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._await_syncing()
        try:
            with _disk():
                self._file.close()  # writes what is left in its buffer
        finally:
            self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        with _disk():
            self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._unsynced += len(chunk)
        if self._unsynced >= SYNC_BYTES and not self._syncing.is_alive():
            # On its way to the disk while the rest still comes: at the end there is less to wait for.
            self._unsynced = 0
            self._syncing = threading.Thread(target=self._sync_meanwhile, name="synchronising")
            self._syncing.start()
        if len(self.start) < HEADER_LIMIT:
            self.start += chunk[: HEADER_LIMIT - len(self.start)]

    def _sync_meanwhile(self) -> None:
        try:
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._lost = error  # the kernel tells it once, and only here

    def _await_syncing(self) -> None:
        if self._syncing.ident is not None:
            self._syncing.join()

    def flush(self) -> str:
        """Make what was received durable, and return its sha256 in hex."""
        self._await_syncing()
        with _disk():
            if self._lost is not None:
                raise self._lost
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def keep(self, target: Path) -> None:
        """Move the file to its place, durably. Called within the transaction that refers to it."""
        with _disk():
            target.parent.mkdir(exist_ok=True)
            self.path.replace(target)
            sync_folder(target.parent)
            sync_folder(target.parent.parent)


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room("room for the file") from error
        raise
