"""Official files of data sets: downloaded once into the cache, and used only if they are the very bytes expected."""

from __future__ import annotations

import os
from hashlib import file_digest
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from ldsboard import cache
from worker.data.dataset import DataError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = httpx.Timeout(30, connect=10)
"""Seconds without a byte after which a download has failed; a slow one may take as long as it does."""


def folder() -> Path:
    """Return where downloads are kept: ``datasets`` in ``LDSBOARD_CACHE``."""
    return cache.root() / "datasets"


def fetch(url: str, sha256: str) -> Path:
    """Return a file in the cache, downloaded where it is missing.

    Raises
    ------
    DataError
        It cannot be downloaded, or what came has another sha256; nothing is kept then.
    """
    path = folder() / url.rpartition("/")[2]
    if path.exists():
        _check(path, path, sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under a name of this process until it is whole: others may fetch the same file.
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with (
            Console(stderr=True).status(f"downloading {url}"),
            httpx.stream("GET", url, timeout=TIMEOUT, follow_redirects=True) as answer,
            draft.open("wb") as file,
        ):
            answer.raise_for_status()
            for block in answer.iter_raw():
                file.write(block)
        _check(draft, url, sha256)
        draft.replace(path)
    except httpx.HTTPError as error:
        raise DataError(f"expected a download from {url}, got: {error or type(error).__name__}") from error
    finally:
        draft.unlink(missing_ok=True)
    return path


def _check(path: Path, origin: Path | str, sha256: str) -> None:
    with path.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(
            f"expected {origin} with sha256 {sha256}, got {found}. It is damaged, or not the file published."
        )
