"""Keep a record of each unfinished upload in the cache, so that the upload can be continued or given up later."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ldsboard import cache
from ldsboard.drafts import atomic_write
from ldsboard.locks import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTITY = ("benchmark", "method", "kind", "sha256")
"""Announced fields that two uploads have in common if one continues or replaces the other."""


@dataclass(frozen=True)
class PendingUpload:
    """The record of an unfinished multipart upload.

    The record is written before the upload is announced, because the answer to the announcement can be lost.

    Attributes
    ----------
    server
        Address of the server.
    id
        Id of the submission; empty until the server has answered the announcement.
    capability
        The upload token; empty until the server has answered the announcement.
    path, size, sha256
        Absolute path of the score file, and its number of bytes and sha256 when the upload began.
    expires_at
        Time at which the upload and the upload token expire, ISO 8601.
    key
        Idempotency key of the announcement.
    announced
        The announcement: the fields of ``POST /api/v1/submissions``.
    source
        Absolute path of the file that the user named, if the score file was made from that file; otherwise empty.
    conversion
        Options with which the score file was made from ``source``.
    """

    server: str
    id: str
    capability: str
    path: str
    size: int
    sha256: str
    expires_at: str
    key: str = ""
    announced: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    conversion: dict[str, str] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Path of the file that the user named."""
        return self.source or self.path

    def save(self) -> None:
        """Write the record to the cache; only the current user can read it."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(self.file) as file:
            file.write(json.dumps(asdict(self)).encode())

    def exists(self) -> bool:
        """Return whether the cache holds the record."""
        with suppress(OSError, ValueError):
            return self.file.is_file()
        return False

    def delete(self) -> None:
        """Delete the record and its lock file from the cache, if they exist."""
        for suffix in (".json", ".lock"):
            with suppress(OSError, ValueError):
                self.file.with_suffix(suffix).unlink()

    @contextmanager
    def in_use(self) -> Iterator[bool]:
        """Mark the upload as in use by this process during a block; yield False if another process uses the upload already."""
        with lock(self.file.with_suffix(".lock")) as held:
            yield held

    @property
    def file(self) -> Path:
        """Path of the record in the cache, named by the key, or without a key by the id; ValueError for an invalid name."""
        name = self.key or self.id
        if not name.isalnum():  # the id comes from a server and becomes part of a path
            raise ValueError(f"Invalid upload id {name[:80]!r}: expected letters and digits.")
        return _folder() / f"{name}.json"


def pending_uploads(server: str, path: Path | None = None) -> list[PendingUpload]:
    """Return the records of unfinished uploads to a server; delete records that are expired or cannot be read.

    Parameters
    ----------
    server
        Address of the server.
    path
        Path of a file that the user named, or of a score file. If given, only the uploads of this file are returned.
    """
    files, found = [], []
    with suppress(OSError):  # a cache that cannot be listed holds no records
        files = sorted(_folder().glob("*.json"))
    for file in files:
        try:
            upload = _read(file)
            expired = datetime.fromisoformat(upload.expires_at) <= datetime.now(UTC)
        except OSError:  # another process has deleted the record meanwhile
            continue
        except (ValueError, TypeError, RecursionError):
            # Damaged, or written by another version: nothing can be resumed with the record.
            _discard(file)
            continue
        if expired:
            upload.delete()
        elif upload.server == server and (path is None or absolute(path) in (upload.path, upload.source)):
            found.append(upload)
    return found


def _discard(file: Path) -> None:
    """Delete a record that cannot be read, and its lock file unless another process holds the lock."""
    with lock(file.with_suffix(".lock")) as held, suppress(OSError):
        file.unlink(missing_ok=True)
        if held:
            file.with_suffix(".lock").unlink()


def _read(file: Path) -> PendingUpload:
    """Read the record of an upload, and return it after a check of all its members.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError, TypeError, RecursionError
        The file is no record of an upload.
    """
    upload = PendingUpload(**json.loads(file.read_text(encoding="utf-8")))
    if _types(upload) != _types(PendingUpload("", "", "", "", 0, "", "")):
        raise TypeError("A member of the upload record has a wrong type.")
    announced = upload.announced
    texts = [*upload.conversion.values(), announced.get("kind") or "", announced.get("visibility") or ""]
    if announced:  # older versions kept no announcement
        texts += [announced.get("benchmark"), announced.get("method")]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("A member of the announcement or of the conversion has a wrong type.")
    if upload.file != file or not f"{upload.id}0".isalnum() or "\0" in upload.path + upload.source:
        raise ValueError("The upload record belongs to another file, or an id or a path in it is not valid.")
    return upload


def _types(upload: PendingUpload) -> dict[str, type]:
    return {name: type(value) for name, value in asdict(upload).items()}


def pending_uploads_like(server: str, announced: dict[str, Any]) -> list[PendingUpload]:
    """Return the records of a server's unfinished uploads that have the file, benchmark, method and kind of an announcement."""
    return [
        upload
        for upload in pending_uploads(server)
        if upload.announced and all(_stated(upload.announced, name) == _stated(announced, name) for name in IDENTITY)
    ]


def _stated(announced: dict[str, Any], name: str) -> Any:
    """Return a field of an announcement, or the value that the server takes for a missing field."""
    return announced.get(name, "ranked" if name == "kind" else None)


def absolute(path: Path) -> str:
    """Return the absolute path of a file, without ``..``; symbolic links are not resolved, because the user named the link."""
    return os.path.abspath(path)  # noqa: PTH100 -- Path.resolve would follow links


def _folder() -> Path:
    return cache.root() / "uploads"
