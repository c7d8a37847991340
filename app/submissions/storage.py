"""Storage of score files in a folder; the path of each file is derived from the SHA-256 of its content.

Two kinds of data are in the subfolder ``arriving`` until they are complete score files. Data that is being received is in a file
with a random name; such files are deleted when the server starts. Received upload parts are in a folder for each multipart
upload, named by the id of the upload; a restart of the server does not delete upload parts of an open upload.
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
from app.errors import disk_full
from ldsboard.drafts import sync_folder
from ldsboard.formats.score_files import HEADER_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

READ_BYTES = 1 << 20

SYNC_BYTES = 1 << 25
"""Number of received bytes after which a file is synchronised to the disk in the background."""


class Storage:
    """A folder of score files, with a subfolder for incomplete uploads.

    Parameters
    ----------
    folder
        Folder of the files; a missing folder is created.
    spare
        Bytes of the disk that uploads must leave free, for instance for the database.
    """

    def __init__(self, folder: Path, spare: int = 0) -> None:
        self.folder = folder.absolute()
        self._arriving = self.folder / "arriving"
        self._arriving.mkdir(parents=True, exist_ok=True)
        self._spare = spare

    def path(self, sha256: str) -> Path:
        """Return the path of the file with this SHA-256, whether or not the file exists."""
        return self.folder / sha256[:2] / sha256

    def part_path(self, upload: str, number: int) -> Path:
        """Return the path of an upload part, whether or not the part exists."""
        return self._arriving / upload / str(number)

    def check_free_space(self, size: int) -> None:
        """Raise ``internal.full`` if the disk would have fewer free bytes than `spare` after storing `size` more bytes."""
        if shutil.disk_usage(self.folder).free < size + self._spare:
            raise disk_full()

    def receive(self) -> Arrival:
        """Return an `Arrival` that writes received bytes to a new file; use the `Arrival` as a context manager."""
        return Arrival(self._arriving / random_id(), self.check_free_space)

    def join(self, upload: str, parts: int) -> Iterator[bytes]:
        """Yield the bytes of all upload parts of an upload in order, in chunks of at most `READ_BYTES`.

        Raises
        ------
        FileNotFoundError
            An upload part is not stored. Chunks of earlier upload parts have been yielded before.
        """
        for number in range(parts):
            with self.part_path(upload, number).open("rb") as file:
                while chunk := file.read(READ_BYTES):
                    yield chunk

    def delete_incomplete(self) -> None:
        """Delete all partly received files. Upload parts that were received whole are not deleted.

        Call this method only at the start of a server: a file that is arriving now would be deleted too.
        """
        for path in self._arriving.iterdir():
            if path.is_file():
                path.unlink()

    def upload_ids(self) -> list[str]:
        """Return the ids of the uploads that have a folder of upload parts."""
        return [path.name for path in self._arriving.iterdir() if path.is_dir()]

    def delete_parts(self, upload: str) -> None:
        """Delete all stored upload parts of an upload."""
        shutil.rmtree(self._arriving / upload, ignore_errors=True)

    def stored_hashes(self) -> list[str]:
        """Return the SHA-256 of every stored file."""
        return [path.name for path in self.folder.glob("??/*")]

    def delete(self, sha256: str) -> None:
        """Delete the file with this SHA-256, if it exists."""
        self.path(sha256).unlink(missing_ok=True)


class Arrival:
    """A file that is being received and hashed. At the end of the ``with`` block, the file is deleted unless `keep` was called.

    Parameters
    ----------
    check_free_space
        `Storage.check_free_space`, to call before each write: other files take space while this file arrives.

    Attributes
    ----------
    path
        Path of the file until `keep` moves the file. The file is complete only after `flush`.
    size
        Number of bytes received so far.
    start
        The first bytes of the file, at most `HEADER_LIMIT` bytes.
    """

    def __init__(self, path: Path, check_free_space: Callable[[int], None]) -> None:
        self.path = path
        self._check_free_space = check_free_space
        self._digest = hashlib.sha256()
        with _disk_errors():
            self._file = path.open("xb")
        self._sync_thread = threading.Thread()
        self._unsynced_bytes = 0
        self._sync_error: OSError | None = None
        self.size = 0
        self.start = b""

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
