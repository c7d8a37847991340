"""Storage of score files in a folder. Upload parts are in a folder for each multipart upload, named by the id of the upload.

The subfolder ``arriving`` holds the folders of upload parts, and the files that are being received.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.errors import LostFileError
from app.submissions.storage import PARTS, Storage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from app.submissions.arrivals import Arrival

READ_BYTES = 1 << 20


class FolderStorage(Storage):
    """A folder of score files, with a subfolder for incomplete uploads.

    Parameters
    ----------
    folder
        Folder of the files; a missing folder is created.
    spare
        Bytes of the disk that uploads must leave free, for instance for the database.
    """

    unready = "The folder of uploaded files is missing."

    def __init__(self, folder: Path, spare: int = 0) -> None:
        self.folder = folder.absolute()
        self._arriving = self.folder / PARTS
        super().__init__(self._arriving, spare)

    def path(self, sha256: str) -> Path:
        """Return the path of the file with this SHA-256, whether or not the file exists."""
        return self.folder / self.key(sha256)

    def part_path(self, upload: str, number: int) -> Path:
        """Return the path of an upload part, whether or not the part exists."""
        return self._arriving / upload / str(number)

    def part_key(self, upload: str, number: int, sha256: str) -> str:
        """Return the key of an upload part, which does not depend on its SHA-256."""
        del sha256
        return f"{PARTS}/{upload}/{number}"

    def keep(self, arrival: Arrival) -> None:
        """Move a flushed file to its path."""
        arrival.keep(self.path(arrival.sha256))

    def keep_part(self, upload: str, number: int, arrival: Arrival) -> None:
        """Move a flushed upload part to its path; an earlier upload part with the same number is replaced."""
        arrival.keep(self.part_path(upload, number))

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of a file in chunks of at most `READ_BYTES`."""
        with (self.folder / key).open("rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    def write(self, key: str, chunks: Iterator[bytes], size: int) -> None:
        """Store the bytes of a file or upload part under a key, once they are all on the disk."""
        del size
        with self.receive() as arrival:
            for chunk in chunks:
                arrival.write(chunk)
            arrival.flush()
            arrival.keep(self.folder / key)

    def size(self, key: str) -> int | None:
        """Return the size of a file; None if it is not stored."""
        path = self.folder / key
        return path.stat().st_size if path.is_file() else None

    @contextmanager
    def local_file(self, sha256: str) -> Iterator[Path]:
        """Yield the path of a stored file.

        Raises
        ------
        LostFileError
            The folder does not hold the file.
        """
        path = self.path(sha256)
        if not path.exists():
            raise LostFileError(f"The folder {self.folder} does not hold {self.key(sha256)}.")
        yield path

    def sizes(self, hashes: Collection[str]) -> dict[str, int]:
        """Return the size of each file with a SHA-256 in `hashes`; missing files are left out."""
        paths = {sha256: self.path(sha256) for sha256 in hashes}
        return {sha256: path.stat().st_size for sha256, path in paths.items() if path.exists()}

    def stored_hashes(self) -> list[str]:
        """Return the SHA-256 of every stored file."""
        return [path.name for path in self.folder.glob("??/*")]

    def upload_ids(self) -> list[str]:
        """Return the ids of the uploads that have a folder of upload parts."""
        return [path.name for path in self._arriving.iterdir() if path.is_dir()]

    def delete_files(self, hashes: Iterable[str]) -> None:
        """Delete the files with a SHA-256 in `hashes`; missing files are left out."""
        for sha256 in hashes:
            self.path(sha256).unlink(missing_ok=True)

    def delete_parts(self, upload: str) -> None:
        """Delete all stored upload parts of an upload."""
        shutil.rmtree(self._arriving / upload, ignore_errors=True)

    def is_ready(self) -> bool:
        """Return whether the folder exists."""
        return self.folder.is_dir()
