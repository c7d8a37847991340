"""The uploaded files, in a folder, each under the sha256 of its content."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Self

from app.db.models import random_id

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Storage:
    """A folder of files, and a corner of it for those still arriving."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._arriving = self.folder / "arriving"
        self._arriving.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the file with this content is, or would be."""
        return self.folder / sha256[:2] / sha256

    def receive(self) -> Arrival:
        """Begin to receive a file."""
        return Arrival(self, self._arriving / random_id())

    def discard_arriving(self) -> None:
        """Delete what a killed process left half received."""
        for path in self._arriving.iterdir():
            path.unlink()

    def names(self) -> list[str]:
        """Return the sha256 of every file that was kept."""
        return [path.name for path in self.folder.glob("??/*")]

    def delete(self, sha256: str) -> None:
        """Delete the file with this content, if it is there."""
        self.path(sha256).unlink(missing_ok=True)


class Arrival:
    """A file being received: hashed as it comes, and gone at the end of the block unless it was kept."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self._storage = storage
        self._path = path
        self._digest = hashlib.sha256()
        self._file = path.open("xb")
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def flush(self) -> str:
        """Make what was received durable, and return its sha256 in hex."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def keep(self) -> None:
        """Move the file to its place. Called within the transaction that refers to it."""
        target = self._storage.path(self._digest.hexdigest())
        target.parent.mkdir(exist_ok=True)
        self._path.replace(target)
