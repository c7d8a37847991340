"""Copies of the score files and upload parts of a stopped server in another folder or bucket.

A file gets its key at the target only when it is complete and its bytes have the SHA-256 that its row states. What a killed
move has left at the target is therefore used again: in a bucket if the size is right, in a folder if the SHA-256 is, too,
because a disk can damage files without saying so. Nothing at the source is changed.
"""

from __future__ import annotations

import shlex
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import count as numbers
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.models import File
from app.errors import DamagedFileError, StorageAwayError
from app.management.damage import is_altered
from app.management.move_options import MoveError
from app.management.stored_items import read_verified, stored_items
from app.submissions.folder_storage import FolderStorage
from app.submissions.opened_storage import open_storage
from app.submissions.storage import PARTS
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.management.move_options import MoveOptions
    from app.management.stored_items import Item
    from app.settings import Settings
    from app.submissions.storage import Storage

COPIERS = 4
"""Number of files that are copied at the same time: small files wait for the answers of a store most of the time."""


@dataclass(frozen=True)
class Copied:
    """How many files and bytes were sent, how many files were at the target already, and which ones the source lacks."""

    files: int
    size: int
    kept: int
    faults: list[str]


class FileCopies:
    """The copies to be made. The source's database must not change meanwhile, and nobody else may use the target.

    A folder that does not exist is created, so that only its owner can read it.

    Raises
    ------
    MoveError
        The target holds what no row of the source knows, its disk lacks room, or the source holds none of the files.
    RuntimeError
        A bucket cannot be used.
    """

    def __init__(self, session: Session, source: Settings, target: Settings, options: MoveOptions) -> None:
        known = set(session.scalars(select(File.sha256)))
        # A server creates the folder that is not named when it starts.
        if (known or source.storage_url) and source.bucket is None and not source.storage_dir.is_dir():
            raise MoveError(f"There is no folder {source.storage_dir}. {_no_source(known)}")
        if target.bucket is None:
            _check_folder(target.storage_dir, target, options)
        self._source = open_storage(source)
        if target.bucket is None:
            target.storage_dir.mkdir(mode=0o700, exist_ok=True)
        self._target = open_storage(target)
        self._items = stored_items(session, self._source, self._target)
        self._lock, self._stopped, self._done = threading.Lock(), threading.Event(), 0
        try:
            if known and not self._source.sizes(known):
                raise MoveError(_no_source(known))
            stored = set(self._target.stored_hashes())
            uploads = {item.source.split("/")[1] for item in self._items if item.source.startswith(f"{PARTS}/")}
            if unknown := sorted(stored - known) + sorted(set(self._target.upload_ids()) - uploads):
                raise MoveError(
                    f"The target holds {count(len(unknown), 'file or upload', 'files or uploads')} that no row of this "
                    f"database knows, such as {unknown[0]}. A server would delete them. {_another(target, options)}"
                )
            self._sizes = self._target.sizes(known & stored)
        except StorageAwayError as error:
            raise _away(error) from None
        self._check_space()

    @property
    def target(self) -> Storage:
        """The place of the copies."""
        return self._target

    def _check_space(self) -> None:
        """Raise MoveError if the disk of a folder lacks room. A bucket tells nothing of its room."""
        if not isinstance(self._target, FolderStorage):
            return
        self._target.delete_incomplete()  # by a move that was killed
        missing = sum(item.size for item in self._items if self._size(item) != item.size)
        try:
            self._target.check_free_space(missing)
        except ProblemError:
            raise _full(self._target, missing) from None

    def copy(self, show: Callable[[float], object] | None) -> Copied:
        """Copy what the target lacks; call `show` with the fraction of the bytes that is done.

        Raises
        ------
        MoveError
            A store is out of reach, a disk is full, or the target does not hold what was sent. A repeated move goes on.
        """
        total = sum(item.size for item in self._items)

        def advance(size: int) -> None:
            if self._stopped.is_set():
                raise MoveError("Interrupted.")
            with self._lock:
                self._done += size
                if show is not None and total:
                    show(self._done / total)

        with ThreadPoolExecutor(COPIERS) as pool:
            copies = [pool.submit(self._copy, item, advance) for item in self._items]
            try:
                ended, _ = wait(copies, return_when=FIRST_EXCEPTION)
                for copy in ended:
                    copy.result()
            finally:  # also if the operator interrupts the command
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
        results = list(zip(self._items, [copy.result() for copy in copies], strict=True))
        sent = [item.size for item, result in results if result == "sent"]
        kept = sum(result == "kept" for _, result in results)
        faults = [f"{item.name} is {result}" for item, result in results if result not in {"sent", "kept"}]
        return Copied(len(sent), sum(sent), kept, faults)

    def _copy(self, item: Item, advance: Callable[[int], None]) -> str:
        """Copy an item; return what became of it: ``sent``, ``kept``, ``lost`` or ``damaged``."""
        try:
            if self._is_kept(item):
                advance(item.size)
                return "kept"
            self._target.write(item.target, read_verified(self._source, item, advance), item.size)
            found = self._target.size(item.target)
        except DamagedFileError as error:
            return str(error)
        except StorageAwayError as error:
            raise _away(error) from None
        except ProblemError:
            raise _full(self._target, item.size) from None
        if found != item.size:
            raise MoveError(
                f"The target holds {found} bytes of {item.name}, and {item.size} were sent. Repeat the command."
            )
        return "sent"

    def _size(self, item: Item) -> int | None:
        """Return the size of an item at the target; that of a score file was listed before."""
        return self._target.size(item.target) if item.target.startswith(f"{PARTS}/") else self._sizes.get(item.sha256)

    def _is_kept(self, item: Item) -> bool:
        """Return whether the target holds an item, by its size, and in a folder also by its SHA-256."""
        is_folder = isinstance(self._target, FolderStorage)
        is_right_size = self._size(item) == item.size
        return is_right_size and not (is_folder and is_altered(self._target, item.target, item.sha256))


def _check_folder(folder: Path, target: Settings, options: MoveOptions) -> None:
    """Raise MoveError unless a folder holds at most files of a storage, or does not exist in a folder that does."""
    if not folder.parent.is_dir():
        raise MoveError(
            f"There is no folder {folder.parent}. Create it: mkdir -m 700 -p {shlex.quote(str(folder.parent))}"
        )
    if not folder.exists():
        return
    if not folder.is_dir():
        raise MoveError(f"{folder} is a file. {_another(target, options)}")
    stored = {f"{first:02x}" for first in range(256)} | {PARTS}
    if other := sorted(path.name for path in folder.iterdir() if path.name not in stored):
        raise MoveError(f"The folder {folder} holds other files, such as {other[0]}. {_another(target, options)}")


def _another(target: Settings, options: MoveOptions) -> str:
    """Return how to get an empty target in place of another one."""
    if target.bucket is not None:
        prefix = f"{target.bucket.prefix}-2" if target.bucket.prefix else "files"
        free = f"s3://{target.bucket.name}/{prefix}"
        return f"Name a prefix without objects: {options.command(storage=shlex.quote(free))}"
    folder = target.storage_dir
    new = next(path for number in numbers(2) if not (path := folder.with_name(f"{folder.name}-{number}")).exists())
    return f"Name a folder that does not exist: {options.command(storage=shlex.quote(str(new)))}"


def _no_source(known: AbstractSet[str]) -> str:
    return (
        f"None of {count(len(known), 'score file')} is where the settings say. Set LDSBOARD_DATA_DIR and "
        "LDSBOARD_STORAGE_URL to the installation that is to be moved, as for its server. If the files are lost, move only the "
        "database, and set LDSBOARD_STORAGE_URL to the new place."
    )


def _away(error: StorageAwayError) -> MoveError:
    return MoveError(
        f"The store of score files is out of reach ({error.reason}). What has arrived stays at the target, and the source is "
        "unchanged. Repeat the command when the store is back."
    )


def _full(target: Storage, size: int) -> MoveError:
    return MoveError(
        f"The disk of {target.scratch.parent} lacks room for {count(size, 'byte')}. Free space or name a folder on another disk, "
        "then repeat the command."
    )
