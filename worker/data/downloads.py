"""Download official files of data sets into the cache, once, and verify their sha256."""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING

import httpx
from rich.console import Console

from ldsboard import cache
from ldsboard.drafts import EVERYONE, atomic_write
from worker.data.dataset import DataError

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = httpx.Timeout(30, connect=10)
"""Seconds without data after which a download fails. The total time of a download is not limited."""


def folder() -> Path:
    """Return the folder of downloads: ``datasets`` in ``LDSBOARD_CACHE``."""
    return cache.root() / "datasets"


def fetch(url: str, sha256: str) -> Path:
    """Return the path of a file in the cache; download the file if it is missing.

    Raises
    ------
    DataError
        The download fails, or the file has another sha256. A failed download leaves no file.
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
            atomic_write(path, mode=EVERYONE) as file,
        ):
            answer.raise_for_status()
            for block in answer.iter_raw():
                file.write(block)
                found.update(block)
            _check(found.hexdigest(), url, sha256)
    except httpx.HTTPError as error:
        raise DataError(f"Cannot download {url}: {error or type(error).__name__}.") from error
    return path


def _check(found: str, origin: Path | str, sha256: str) -> None:
    """Raise DataError unless `found`, the sha256 of a cached file or of the download from a URL, equals `sha256`."""
    if found == sha256:
        return
    advice = "Nothing was kept. Run the command again; if the error stays, the publisher has changed the file."
    if not isinstance(origin, str):
        advice = f"The file is damaged. Delete the file (rm {shlex.quote(str(origin))}) and run the command again."
    raise DataError(f"Expected {origin} with sha256 {sha256}, got {found}. {advice}")
