"""Where pulled benchmarks are kept: a folder for each server, name and version."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ldsboard.manifest import MANIFEST, BundleError

DEFAULT_SERVER = "http://localhost:8000"


def default_server() -> str:
    """Return the server that commands speak to: ``LDSBOARD_SERVER``, or this machine."""
    return os.environ.get("LDSBOARD_SERVER", DEFAULT_SERVER).rstrip("/")


def root() -> Path:
    """Return where everything fetched is kept: ``LDSBOARD_CACHE``, or a folder in the user's own cache."""
    return Path(os.environ.get("LDSBOARD_CACHE", Path.home() / ".cache" / "ldsboard"))


def folder(server: str, name: str, version: int) -> Path:
    """Return where a version of a benchmark of a server is kept; a name that is no name of a benchmark raises BundleError."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):  # it may be a server's word, and becomes a path
        raise BundleError(
            f"expected the name of a benchmark: lower-case letters, digits and single dashes, got {name[:80]!r}"
        )
    return root() / re.sub(r"[^A-Za-z0-9.-]+", "_", server.rstrip("/")) / name / str(version)


def pulled(name: str, server: str | None = None) -> Path:
    """Return the folder of the newest pulled version of a benchmark.

    Raises
    ------
    BundleError
        None was pulled from this server.
    """
    server = server or default_server()
    versions = folder(server, name, 0).parent
    found = [path for path in versions.glob("*") if path.name.isdecimal() and (path / "public" / MANIFEST).exists()]
    if not found:
        raise BundleError(
            f"expected {name} of {server} in {versions}, got nothing. Fetch it first: ldsboard pull {name}"
        )
    return max(found, key=lambda path: int(path.name))
