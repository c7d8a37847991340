"""The cache of downloaded benchmarks, with one folder for each server, name and version."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ldsboard.manifest import MANIFEST, BundleError

DEFAULT_SERVER = "http://localhost:8000"


def default_server() -> str:
    """Return the default server address: ``LDSBOARD_SERVER``, or ``http://localhost:8000``."""
    return os.environ.get("LDSBOARD_SERVER", DEFAULT_SERVER).rstrip("/")


def root() -> Path:
    """Return the cache folder: ``LDSBOARD_CACHE``, or ``~/.cache/ldsboard``."""
    return Path(os.environ.get("LDSBOARD_CACHE", Path.home() / ".cache" / "ldsboard"))


def folder(server: str, name: str, version: int) -> Path:
    """Return the cache folder of a benchmark version, whether or not the folder exists.

    Raises
    ------
    BundleError
        `name` is not a valid benchmark name.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):  # the name may come from a server and becomes part of a path
        raise BundleError(f"Invalid benchmark name {name[:80]!r}: use lower-case letters, digits and single dashes.")
    return root() / re.sub(r"[^A-Za-z0-9.-]+", "_", server.rstrip("/")) / name / str(version)


def pulled(name: str, server: str | None = None) -> Path:
    """Return the folder of the newest version of a benchmark in the cache.

    Parameters
    ----------
    name
        Name of the benchmark.
    server
        Address of the server of the benchmark; by default `default_server`.

    Raises
    ------
    BundleError
        The cache holds no version from this server, or `name` is not a valid benchmark name.
    """
    server = server or default_server()
    versions = folder(server, name, 0).parent
    found = [path for path in versions.glob("*") if path.name.isdecimal() and (path / "public" / MANIFEST).exists()]
    if not found:
        raise BundleError(f"{name} of {server} is not in the cache ({versions}). Fetch it first: ldsboard pull {name}")
    return max(found, key=lambda path: int(path.name))
