"""Uploads that were begun: what is needed to go on with each, kept in the cache until the server has the file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ldsboard import cache

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class PendingUpload:
    """An upload on its way: where to, by which capability, and of which file."""

    server: str
    id: str
    capability: str
    path: str
    size: int
    sha256: str
    expires_at: str

    def keep(self) -> None:
        """Write it down, for this user alone."""
        file = self._file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(asdict(self), out)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)

    def forget(self) -> None:
        """Strike it: nothing is left to go on with."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self._file.unlink()

    @property
    def _file(self) -> Path:
        if not self.id.isalnum():  # it is a server's word, and becomes a path
            raise ValueError(f"expected letters and digits as the id of an upload, got {self.id[:80]!r}")
        return _folder() / f"{self.id}.json"


def pending_uploads(server: str, path: Path | None = None) -> list[PendingUpload]:
    """Return the uploads to a server that can be gone on with, of one file if it is named; forget those whose time is over."""
    found = []
    for file in sorted(_folder().glob("*.json")):
        kept = PendingUpload(**json.loads(file.read_text(encoding="utf-8")))
        if datetime.fromisoformat(kept.expires_at) <= datetime.now(UTC):
            kept.forget()
        elif kept.server == server and (path is None or str(path) == kept.path):
            found.append(kept)
    return found


def _folder() -> Path:
    return cache.root() / "uploads"
