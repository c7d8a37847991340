"""Atomic writing of files and folders: a draft is renamed to its final name once it is complete.

Files are also synced to disk before the rename, so that they survive a power failure.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from typing import TYPE_CHECKING, BinaryIO
from zipfile import BadZipFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWNER, EVERYONE = 0o600, 0o666
"""File modes, before the umask is applied: OWNER lets the owner read and write the file, EVERYONE lets everyone."""

NPZ_ERRORS = (BadZipFile, EOFError, LookupError, NotImplementedError, OSError, TypeError, ValueError)
"""Exceptions that zipfile and numpy raise for an ``.npz`` file that is truncated or has another format."""


@contextmanager
def atomic_write(path: Path, *, mode: int = OWNER, keep_existing: bool = False) -> Iterator[BinaryIO]:
    """Open a draft for writing, and rename it to `path` at the end of the block; an error in the block removes the draft.

    Parameters
    ----------
    path
        Final name of the file; the draft is in the same folder.
    mode
        Mode of the file, `OWNER` or `EVERYONE`.
    keep_existing
        If True, a file that exists at `path` at the end of the block is kept, and the draft is removed. If False, the draft
        replaces the file.

    Yields
    ------
    BinaryIO
        The draft.
    """
    # A random name, not the process id: containers that share this folder may have equal process ids.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep_existing:
            with suppress(FileExistsError):
                os.link(draft, path)
        else:
            draft.replace(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, keep: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Yield a new draft folder, and rename the draft to `path` at the end of the block.

    By default, the draft replaces whatever exists at `path`. An error in the block removes the draft and leaves `path` unchanged.

    Parameters
    ----------
    path
        Final path of the folder. The draft is a folder next to this path.
    keep
        Function that is called with `path` if a file, or a folder that is not empty, exists there at the end of the block. If
        the function returns True, the existing file or folder is kept and the draft is removed. If the function returns False,
        the draft replaces the existing file or folder.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    earlier = draft.with_suffix(".earlier")
    draft.mkdir(parents=True)
    try:
        yield draft
        while True:
            try:
                draft.rename(path)
            except OSError as error:
                if error.errno not in {ENOTEMPTY, EEXIST, ENOTDIR}:
                    raise
            else:
                break
            if keep(path):
                break
            with suppress(FileNotFoundError):  # another writer has moved it away meanwhile
                path.rename(earlier)
            _remove(earlier)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a folder with its content, or a file, if it exists."""
    with suppress(OSError):
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of a folder to disk, so that a renamed file keeps its name after a power failure."""
    if os.name == "nt":  # Windows cannot open folders, and syncs directory entries itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
