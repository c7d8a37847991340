"""Storage of score files in an S3-compatible object store, under keys below the prefix of `LDSBOARD_STORAGE_URL`.

The keys are the paths of `app.submissions.folder_storage`, except that the key of an upload part ends with its SHA-256: of two
simultaneous parts with one number, the database row decides which counts. No object ever gets other bytes, unless a client sends
an upload part straight to the store. Transfers of files run outside of transactions. Inside, `keep` only looks whether the object
is still there, since only write transactions delete files.
"""

from __future__ import annotations

import math
import re
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

import obstore
import structlog
from obstore.exceptions import BaseError

from app.db.base import random_id
from app.errors import LostFileError, StorageAwayError
from app.submissions import scratch
from app.submissions.s3_connection import connect, from_another_thread, short_reason, sign_put
from app.submissions.storage import PARTS, URL_SECONDS, Storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from app.settings import Settings
    from app.submissions.arrivals import Arrival

CHUNK_BYTES = 5 << 20
"""Size of the pieces in which larger files are sent. S3 allows no smaller ones; smaller files are sent whole."""

READ_BYTES = 24 << 20
"""Size of the pieces in which larger files are read. Every request costs time: one for 20 MB takes 3/4 of the time of four."""

MAX_CHUNKS = 9000
"""Largest number of pieces of one file; S3 allows 10,000."""

SENDERS = 4
"""Number of pieces of one file that are sent at the same time."""

LIST_SECONDS = 60.0
"""Seconds after which a server that has sent no upload part looks for the upload parts of other servers."""

READY_SECONDS = 10.0
"""Seconds for which the last answer of the store shows that a server is ready."""

HASH = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})")  # keys of score files

log = structlog.get_logger()


class S3Storage(Storage):
    """Score files and upload parts in a bucket; a local folder for files that are received, joined or scored.

    Parameters
    ----------
    bucket, prefix
        The bucket, and the first components of all keys; an empty prefix is the whole bucket.

    Raises
    ------
    StorageAwayError
        The bucket does not answer, does not exist, or the credentials do not allow to write, list and delete there.
    """

    unready = "The store of uploaded files is out of reach."

    def __init__(self, settings: Settings, bucket: str, prefix: str) -> None:
        super().__init__(settings.data_dir / PARTS, settings.spare_bytes)
        self._away, self._may_hold_parts, self._answered_at, self._listed_at = False, True, 0.0, -LIST_SECONDS
        self._probing = threading.Lock()
        self._slow = connect(settings, bucket, prefix, seconds=60, retries=3)
        # For calls inside of transactions, which hold up other writers.
        self._quick = connect(settings, bucket, prefix, seconds=5, retries=1)
        self.takes_parts = bool(settings.storage_public_url)
        self._signer = connect(settings, bucket, prefix, seconds=5, retries=1, url=settings.storage_public_url)
        self._probe()

    @classmethod
    def open(cls, settings: Settings, bucket: str, prefix: str) -> Self:
        """Return a storage; raise RuntimeError if its bucket cannot be used."""
        try:
            return cls(settings, bucket, prefix)
        except StorageAwayError as error:
            raise RuntimeError(
                f"The bucket {bucket!r} cannot be used ({error.reason}). The server must be able to "
                "write, list and delete there: check its name, AWS_ENDPOINT_URL, AWS_REGION and the access key."
            ) from None

    def part_key(self, upload: str, number: int, sha256: str) -> str:
        """Return the key of an upload part."""
        return f"{PARTS}/{upload}/{number}-{sha256}"

    def part_url(self, upload: str, number: int, sha256: str, *, inside: bool = False) -> str:
        """Return the signed URL of an upload part. The signature covers neither size nor content: check both afterwards."""
        self._may_hold_parts = True
        return sign_put(self._quick if inside else self._signer, self.part_key(upload, number, sha256), URL_SECONDS)

    def check_free_space(self, size: int) -> None:
        """Raise ``internal.full`` if the scratch folder lacks space, ``internal.storage`` if the store is still out of reach."""
        super().check_free_space(size)
        if self.is_away():
            raise StorageAwayError("no answer")

    def send(self, arrival: Arrival) -> None:
        """Send a flushed file to the store."""
        try:
            self._send(self.key(arrival.sha256), arrival)
        except StorageAwayError:
            self.note_undeleted([arrival.sha256])  # the file may have been stored all the same
            raise

    def send_part(self, upload: str, number: int, arrival: Arrival) -> None:
        """Send a flushed upload part to the store."""
        self._may_hold_parts = True
        self._send(self.part_key(upload, number, arrival.sha256), arrival)

    def keep(self, arrival: Arrival) -> None:
        """Ensure that the store holds a file: send it, unless `send` did so and nothing has deleted the file since then."""
        key = self.key(arrival.sha256)
        if arrival.sent_as != key or self.size(key) != arrival.size:
            self._send(key, arrival)

    def keep_part(self, upload: str, number: int, arrival: Arrival) -> None:
        """Ensure that the store holds an upload part: send it unless `send_part` did so."""
        if arrival.sent_as != self.part_key(upload, number, arrival.sha256):
            self.send_part(upload, number, arrival)

    def _send(self, key: str, arrival: Arrival) -> None:
        self._put(key, arrival.path, arrival.size)
        arrival.sent_as = key

    def write(self, key: str, chunks: Iterator[bytes], size: int) -> None:
        """Send bytes to the store as they come; the object exists once all have been sent."""
        self._put(key, from_another_thread(chunks) if size > CHUNK_BYTES else b"".join(chunks), size)

    def _put(self, key: str, content: Path | bytes | Iterator[bytes], size: int) -> None:
        chunk = max(CHUNK_BYTES, size // MAX_CHUNKS + 1)
        try:
            with self._answers(missing=True):
                obstore.put(self._slow, key, content, chunk_size=chunk, max_concurrency=SENDERS)
        except StorageAwayError:
            # It may be stored although the answer was lost. Equal keys mean equal bytes, or a file that will be refused.
            if self.size(key) != size:
                raise

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object in chunks of at most `READ_BYTES`, each from a request of its own."""
        return map(bytes, self._read(key))

    def _read(self, key: str) -> Iterator[obstore.Bytes]:
        size = self.size(key)
        if size is None:
            self._probe()  # the answer is the same if the bucket is missing
            raise LostFileError(f"The store does not hold {key}.")
        for start in range(0, size, READ_BYTES):
            length = min(READ_BYTES, size - start)
            with self._answers():
                chunk = obstore.get_range(self._slow, key, start=start, length=length)
            if len(chunk) != length:
                raise self._failed("a short answer")
            yield chunk

    @contextmanager
    def local_file(self, sha256: str) -> Iterator[Path]:
        """Yield the path of a temporary file with the bytes of a stored file; raise LostFileError or StorageAwayError."""
        key, path = self.key(sha256), self.scratch / random_id()
        with scratch.create(path) as file:
            try:
                for chunk in self._read(key):
                    file.write(chunk)
                file.flush()
                yield path
            finally:
                path.unlink()

    def sizes(self, hashes: Collection[str]) -> dict[str, int]:
        """Return the size of each file with a SHA-256 in `hashes`. Files that the list of all objects lacks are asked for."""
        listed = {found[2]: size for key, size in self._list() if (found := HASH.fullmatch(key))}
        # Lists of some stores lag behind.
        unlisted = set(hashes) - listed.keys()
        listed |= {sha256: size for sha256 in unlisted if (size := self.size(self.key(sha256))) is not None}
        return {sha256: listed[sha256] for sha256 in hashes if sha256 in listed}

    def stored_hashes(self) -> list[str]:
        """Return the SHA-256 of every stored file, as the store lists them."""
        return [found[2] for key, _ in self._list() if (found := HASH.fullmatch(key))]

    def upload_ids(self) -> list[str]:
        """Return the ids of the uploads of which the store lists upload parts.

        The leading server calls this method every few seconds. Once nothing is listed, the store is not asked again before this
        process sends a part, or `LIST_SECONDS` have passed: other servers send parts too, and can end before they delete them.
        """
        if not self._may_hold_parts and time.monotonic() < self._listed_at + LIST_SECONDS:
            return []
        self._may_hold_parts, self._listed_at = False, time.monotonic()
        try:
            with self._answers():
                listed = obstore.list_with_delimiter(self._slow, prefix=PARTS)["common_prefixes"]
        except StorageAwayError:
            self._may_hold_parts = True
            raise
        self._may_hold_parts = self._may_hold_parts or bool(listed)
        return [prefix.rpartition("/")[2] for prefix in listed]

    def delete_files(self, hashes: Iterable[str]) -> None:
        """Delete the files with a SHA-256 in `hashes`. If the store is out of reach, note them as undeleted."""
        hashes = list(hashes)
        if not self._delete([self.key(sha256) for sha256 in hashes]):
            self.note_undeleted(hashes)

    def delete_parts(self, upload: str) -> None:
        """Delete all stored upload parts of an upload. If the store is out of reach, the clean-up tries again later."""
        with suppress(StorageAwayError):  # logged
            self._delete([key for key, _ in self._list(f"{PARTS}/{upload}")])

    def _delete(self, keys: Sequence[str]) -> bool:
        if not keys:
            return True
        if self.is_away():
            return False
        with suppress(StorageAwayError), self._answers():
            try:
                obstore.delete(self._quick, keys)
            except FileNotFoundError:  # some stores say so, and the rest of the keys may have been left out
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._quick, key)
            return True
        return False

    def is_ready(self) -> bool:
        """Return whether the store answers, or has answered within the last `READY_SECONDS`."""
        return not self.is_away(READY_SECONDS)

    def is_away(self, idle_seconds: float = math.inf) -> bool:
        """Return whether the store is out of reach. It is asked only if the last call failed, or is `idle_seconds` old."""
        if not self._away and time.monotonic() < self._answered_at + idle_seconds:
            return False
        if not self._probing.acquire(blocking=False):
            return self._away
        try:
            with suppress(StorageAwayError):
                self._probe(writing=self._away)
        finally:
            self._probing.release()
        return self._away

    def _probe(self, *, writing: bool = True) -> None:
        """List objects; if `writing`, also write and delete a small one."""
        key = f"{PARTS}/probe"
        with self._answers(missing=True):
            obstore.list_with_delimiter(self._quick, prefix=PARTS)
            if writing:
                obstore.put(self._quick, key, b"probe")
                with suppress(FileNotFoundError):  # another process that probes at the same time has deleted the object
                    obstore.delete(self._quick, key)

    def size(self, key: str) -> int | None:
        """Return the size of an object; None if the store does not hold it."""
        with self._answers(), suppress(FileNotFoundError):
            return obstore.head(self._quick, key)["size"]
        return None

    def _list(self, prefix: str | None = None) -> Iterator[tuple[str, int]]:
        with self._answers():
            for batch in obstore.list(self._slow, prefix=prefix):
                yield from ((entry["path"], entry["size"]) for entry in batch)

    @contextmanager
    def _answers(self, *, missing: bool = False) -> Iterator[None]:
        """Note whether the store answers the calls in the block; raise StorageAwayError if it does not.

        With `missing`, the answer that there is no such object means that there is no such bucket.
        """
        try:
            yield
        except BaseError as error:
            raise self._failed(short_reason(error)) from None
        except FileNotFoundError:
            if missing:
                raise self._failed("NoSuchBucket") from None
            raise
        self._answered_at = time.monotonic()
        if self._away:
            self._away = False
            log.info("storage.back")

    def _failed(self, reason: str) -> StorageAwayError:
        if not self._away:
            self._away = True
            log.error("storage.away", reason=reason)
        return StorageAwayError(reason)
