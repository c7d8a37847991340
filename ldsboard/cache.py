"""The cache of downloaded benchmarks, with one folder for each server, name and version."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from ldsboard.invocation import program
from ldsboard.manifest import MANIFEST, BundleError
from ldsboard.problems import ProblemError

DEFAULT_SERVER = "http://localhost:8000"


def default_server() -> str:
    """Return the default server address: ``LDSBOARD_SERVER``, or ``http://localhost:8000`` if the variable is unset or empty."""
    return (_environment("LDSBOARD_SERVER") or DEFAULT_SERVER).rstrip("/")


def server_address(server: str | None = None) -> str:
    """Return the address of a server, by default `default_server`, without spaces around the address and slashes at its end.

    Raises
    ------
    ProblemError
        ``request.invalid``: the address is not the ``http`` or ``https`` address of a host.
    """
    address = (server or "").strip() or default_server()
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna")
        valid = parts.scheme in ("http", "https") and host and parts.port != 0 and re.fullmatch(r"[^\s?#]+", address)
    except ValueError:  # for instance a port that is not a number
        valid = False
    if not valid:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"an address such as {DEFAULT_SERVER}",
            got=f"the server address {address[:100]!r}",
            hint="Correct LDSBOARD_SERVER (or --server).",
        )
    return address.rstrip("/")


def root() -> Path:
    """Return the cache folder: ``LDSBOARD_CACHE``, or ``~/.cache/ldsboard`` if the variable is unset or empty."""
    named = _environment("LDSBOARD_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "ldsboard"


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
    """Return the folder of the newest version of a benchmark in the cache; the files of the folder are not verified.

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
    ProblemError
        ``request.invalid``: the address of the server is not valid.
    """
    server = server_address(server)
    versions = folder(server, name, 0).parent
    if newest := _newest(versions):
        return newest
    raise BundleError(
        f"{name} of {server} is not in the cache ({versions}). Fetch it first: {program('ldsboard')} pull {name}"
    )


def pulled_from_any(name: str, server: str | None = None) -> Path:
    """Return the folder of the newest cached version of a benchmark from `server`, or if there is none, from another server.

    `server` is by default `default_server`. The files of the folder are not verified.

    Raises
    ------
    BundleError
        The cache holds no benchmark of this name, or none from `server` and different ones from several other servers.
    ProblemError
        ``request.invalid``: the address of the server is not valid.
    """
    try:
        return pulled(name, server)
    except BundleError:
        others = [path for path in map(_newest, sorted(root().glob(f"*/{name}"))) if path]
        if len({(path / "public" / MANIFEST).read_bytes() for path in others}) == 1:
            return others[0]
        if not others:
            raise
    named = ", ".join(path.parent.parent.name for path in others)
    raise BundleError(
        f"{name} of {server_address(server)} is not in the cache, which holds different benchmarks of this name from several "
        f"servers ({named}). Set LDSBOARD_SERVER (or --server) to the address of one of these servers."
    )


def other_server_note(path: Path, name: str, server: str | None = None) -> str:
    """Return a note if a path from `pulled_from_any` belongs to another server than the given one, otherwise an empty text."""
    address = server_address(server)
    if path.parent == folder(address, name, 0).parent:
        return ""
    return f"{name} was pulled from another server ({path.parent.parent.name}) than {address}."


def pulled_with_warning(name: str, server: str | None = None) -> Path:
    """Return the folder that `pulled_from_any` returns; warn the caller's caller if it comes from another server."""
    path = pulled_from_any(name, server)
    if note := other_server_note(path, name, server):
        warnings.warn(note, stacklevel=3)
    return path


def _newest(versions: Path) -> Path | None:
    """Return the folder of the newest version in the folder of a benchmark; None if there is no version."""
    found = [path for path in versions.glob("*") if path.name.isdecimal() and (path / "public" / MANIFEST).exists()]
    return max(found, key=lambda path: int(path.name), default=None)


def _environment(name: str) -> str:
    """Return the value of an environment variable without spaces around it; empty if the variable is unset."""
    return os.environ.get(name, "").strip()
