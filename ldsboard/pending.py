"""Keep a record of each unfinished upload in the cache, for ``ldsboard submit --resume`` to continue the upload."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ldsboard import cache
from ldsboard.drafts import atomic_write

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class PendingUpload:
    """The record of an unfinished multipart upload.

    Attributes
    ----------
    server
        Address of the server.
    id
        Id of the submission.
    capability
        The upload token.
    path, size, sha256
        Absolute path of the score file, and its number of bytes and sha256 when the upload began.
    expires_at
        Time at which the upload and the upload token expire, ISO 8601.
    """

    server: str
    id: str
    capability: str
    path: str
    size: int
    sha256: str
    expires_at: str

    def save(self) -> None:
        """Write the record to the cache; only the current user can read it."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(self._file) as file:
            file.write(json.dumps(asdict(self)).encode())

    def delete(self) -> None:
        """Delete the record from the cache, if it exists."""
        with suppress(FileNotFoundError, NotADirectoryError, ValueError):
            self._file.unlink()

    @property
    def _file(self) -> Path:
        if not self.id.isalnum():  # the id comes from a server and becomes part of a path
            raise ValueError(f"Invalid upload id {self.id[:80]!r}: expected letters and digits.")
        return _folder() / f"{self.id}.json"


def pending_uploads(server: str, path: Path | None = None) -> list[PendingUpload]:
    """Return the records of unfinished uploads to a server; delete records that are expired or cannot be read.

    Parameters
    ----------
    server
        Address of the server.
    path
        Path of a score file. If given, only the uploads of this file are returned.
    """
    found = []
    for file in sorted(_folder().glob("*.json")):
        try:
            upload = PendingUpload(**json.loads(file.read_text(encoding="utf-8")))
        except (
            ValueError,
            TypeError,
        ):  # damaged, or written by another version: nothing can be resumed with the record
            file.unlink(missing_ok=True)
            continue
        if datetime.fromisoformat(upload.expires_at) <= datetime.now(UTC):
            upload.delete()
        elif upload.server == server and (path is None or str(path.absolute()) == upload.path):
            found.append(upload)
    return found


def _folder() -> Path:
    return cache.root() / "uploads"
