"""Copies of folders that hold the files of the originals, and no others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def mirror(source: Path, target: Path, *, only_add: bool) -> None:
    """Make `target` equal to the file or folder `source`, except for drafts, whose names begin with a dot.

    With `only_add`, copy only files that `target` lacks.
    """
    if only_add and target.exists() and not (source.is_dir() and target.is_dir()):
        return
    if not source.is_dir():
        _copy_newer(source, target)
        return
    if target.is_file():
        target.unlink()
    target.mkdir(mode=0o700, exist_ok=True)
    names = {path.name for path in source.iterdir() if not path.name.startswith(".")}
    for path in () if only_add else target.iterdir():
        if path.name not in names:
            remove(path)
    for name in sorted(names):
        mirror(source / name, target / name, only_add=only_add)


def _copy_newer(source: Path, target: Path) -> None:
    """Copy a file unless the target has its size and time; the target is complete at every moment."""
    if target.is_dir():
        shutil.rmtree(target)
    try:
        new = source.stat()
        if target.exists() and (old := target.stat()).st_size == new.st_size and old.st_mtime_ns == new.st_mtime_ns:
            return
        draft = target.with_name(f".{target.name}.new")
        shutil.copy2(source, draft)
    except FileNotFoundError:  # deleted meanwhile, as files of removed snapshots are
        return
    draft.replace(target)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
