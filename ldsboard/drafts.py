"""Files and folders that are there whole or not at all: they get their name once all of them is written.

Files survive a power cut too: they are on the disk by then.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTEMPTY
from typing import TYPE_CHECKING, BinaryIO
from zipfile import BadZipFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER, EVERYONE = 0o600, 0o666
"""Who may read a file and write to it, as far as the umask lets them."""

NPZ_ERRORS = (BadZipFile, EOFError, LookupError, NotImplementedError, OSError, TypeError, ValueError)
"""What zipfile and numpy raise on an ``.npz`` that was not written so, and was cut short, or that is something else."""


@contextmanager
def atomic_write(path: Path, *, mode: int = OWNER, once: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write to, which becomes `path` at the end of the block; an error in it leaves nothing behind.

    Parameters
    ----------
    mode
        Who may use the file.
    once
        Leave `path` as it is where it exists by then: of several writers at once one wins.
    """
    # A random name: the number of a process is the same in many containers, which may share this folder.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if once:
            with suppress(FileExistsError):
                os.link(draft, path)
        else:
            draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes the place of `path` at the end of the block; an error leaves that as it was."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    earlier = draft.with_suffix(".earlier")
    draft.mkdir(parents=True)
    try:
        yield draft
        while draft.exists():
            with suppress(FileNotFoundError):
                path.rename(earlier)
            shutil.rmtree(earlier, ignore_errors=True)
            try:
                draft.rename(path)
            except OSError as error:
                if error.errno not in {ENOTEMPTY, EEXIST}:  # otherwise another writer's took the name in between
                    raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: without this a power cut may take the file's."""
    if os.name == "nt":  # which opens no folder, and brings names to the disk by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
