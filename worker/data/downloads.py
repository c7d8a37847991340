"""Official files of data sets: downloaded once into the cache, and used only if they are the very bytes expected."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from ldsboard import cache
from ldsboard.drafts import EVERYONE, drafted
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
        with path.open("rb") as file:
            _check(hashlib.file_digest(file, "sha256").hexdigest(), path, sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    found = hashlib.sha256()
    try:
        with (
            Console(stderr=True).status(f"downloading {url}"),
            httpx.stream("GET", url, timeout=TIMEOUT, follow_redirects=True) as answer,
            drafted(path, mode=EVERYONE) as file,
        ):
            answer.raise_for_status()
            for block in answer.iter_raw():
                file.write(block)
                found.update(block)
            _check(found.hexdigest(), url, sha256)
    except httpx.HTTPError as error:
        raise DataError(f"expected a download from {url}, got: {error or type(error).__name__}") from error
    return path


def _check(found: str, origin: Path | str, sha256: str) -> None:
    if found != sha256:
        raise DataError(
            f"expected {origin} with sha256 {sha256}, got {found}. It is damaged, or not the file published."
        )
