"""Storage of score files and upload parts: what every place of storage offers.

A score file is stored under a key from the SHA-256 of its content, an upload part under a key from its upload and number. Data
that is being received is in a local folder, the scratch folder, in a file with a random name; servers and workers delete such
files of killed processes when they start. `app.submissions.folder_storage` keeps received data in a folder,
`app.submissions.s3_storage` in an object store.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from app.db.base import random_id
from app.errors import disk_full
from app.submissions import scratch
from app.submissions.arrivals import Arrival

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

URL_SECONDS = 900
"""Seconds for which the URL of an upload part is valid."""

PARTS = "arriving"
"""First component of the keys of upload parts."""


class Storage(ABC):
    """A place of score files and of the upload parts of open uploads.

    Parameters
    ----------
    scratch
        Local folder of the files that are being received; a missing folder is created.
    spare
        Bytes of the scratch folder's disk that uploads must leave free, for instance for the database.
    """

    unready: ClassVar[str]
    """What it means that the storage is not ready, as a sentence."""

    takes_parts = False
    """Whether clients can send upload parts straight to the storage, to the URLs of `part_url`."""

    def __init__(self, scratch: Path, spare: int = 0) -> None:
        self.scratch = scratch.absolute()
        self.scratch.mkdir(parents=True, exist_ok=True)
        self._spare = spare
        self._undeleted: set[str] = set()

    def key(self, sha256: str) -> str:
        """Return the key of the file with this SHA-256, whether or not the file exists."""
        return f"{sha256[:2]}/{sha256}"

    @abstractmethod
    def part_key(self, upload: str, number: int, sha256: str) -> str:
        """Return the key of an upload part with this SHA-256, whether or not the part exists."""

    def part_url(self, upload: str, number: int, sha256: str, *, inside: bool = False) -> str:
        """Return a URL to which a client can send an upload part with PUT during the next `URL_SECONDS`, also several times.

        Only storages with `takes_parts` have such URLs. With `inside`, the URL is one for this server itself, which may reach the
        store under another name than clients.
        """
        raise NotImplementedError

    def check_free_space(self, size: int) -> None:
        """Raise ``internal.full`` if the disk would have fewer free bytes than `spare` after storing `size` more bytes.

        Raise ``internal.storage`` if the place of the files is known to be out of reach.
        """
        self._check_disk(size)

    def _check_disk(self, size: int) -> None:
        if shutil.disk_usage(self.scratch).free < size + self._spare:
            raise disk_full()

    def receive(self) -> Arrival:
        """Return an `Arrival` that writes received bytes to a new file; use the `Arrival` as a context manager."""
        return Arrival(self.scratch / random_id(), self._check_disk)

    def delete_incomplete(self) -> None:
        """Delete the files in the scratch folder that killed processes have left; upload parts that arrived whole are kept."""
        scratch.delete_abandoned(self.scratch)

    def send(self, arrival: Arrival) -> None:  # noqa: B027 -- a folder has nothing to do
        """Do the slow part of `keep`; call this method after `Arrival.flush` and before the transaction of `keep`."""

    def send_part(self, upload: str, number: int, arrival: Arrival) -> None:  # noqa: B027 -- likewise
        """Do the slow part of `keep_part`, as `send` does that of `keep`."""

    @abstractmethod
    def keep(self, arrival: Arrival) -> None:
        """Store a flushed file under its SHA-256; an equal file that is stored already is replaced.

        Call this method in the write transaction that stores the reference to the file. Outside a write transaction, a clean-up
        could delete the file before the database refers to the file.
        """

    @abstractmethod
    def keep_part(self, upload: str, number: int, arrival: Arrival) -> None:
        """Store a flushed upload part; call this method in the write transaction that stores the row of the part."""

    @abstractmethod
    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of a stored file or upload part in chunks; raise FileNotFoundError if it is not stored."""

    @abstractmethod
    def write(self, key: str, chunks: Iterator[bytes], size: int) -> None:
        """Store a file or upload part of `size` bytes under a key; if `chunks` raises an exception, store nothing."""

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Return the size of a stored file or upload part; None if it is not stored."""

    @abstractmethod
    def local_file(self, sha256: str) -> AbstractContextManager[Path]:
        """Return a context manager that yields the path of a local file with the bytes of a stored file.

        The bytes are not compared with the SHA-256. If the file is not stored, LostFileError is raised.
        """

    @abstractmethod
    def sizes(self, hashes: Collection[str]) -> dict[str, int]:
        """Return the size of each file with a SHA-256 in `hashes`; missing files are left out."""

    @abstractmethod
    def stored_hashes(self) -> list[str]:
        """Return the SHA-256 of every stored file."""

    @abstractmethod
    def upload_ids(self) -> list[str]:
        """Return the ids of the uploads of which upload parts are stored."""

    def delete(self, sha256: str) -> None:
        """Delete the file with this SHA-256, if it exists."""
        self.delete_files([sha256])

    @abstractmethod
    def delete_files(self, hashes: Iterable[str]) -> None:
        """Delete the files with a SHA-256 in `hashes`; missing files are left out."""

    def note_undeleted(self, hashes: Iterable[str]) -> None:
        """Remember the SHA-256 of files that may be stored without a reference, because deleting or sending them failed."""
        self._undeleted.update(hashes)

    def take_undeleted(self) -> list[str]:
        """Return what `note_undeleted` has noted in this process, and forget it; return nothing while no file can be deleted."""
        taken: list[str] = []
        if self._undeleted and not self.is_away():
            while self._undeleted:
                taken.append(self._undeleted.pop())  # one by one, since other threads add to the same set
        return taken

    @abstractmethod
    def delete_parts(self, upload: str) -> None:
        """Delete all stored upload parts of an upload."""

    def is_ready(self) -> bool:
        """Return whether files can be stored and read now."""
        return not self.is_away()

    def is_away(self) -> bool:
        """Return whether an object store is out of reach, so that no evaluation can begin; always False for a folder."""
        return False
