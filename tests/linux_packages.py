"""The packages that an image needs on Linux, from the metadata of this environment, and their tested versions."""

from __future__ import annotations

import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[1]
LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.14",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def pinned_versions() -> dict[str, str]:
    """Return the version in constraints.txt of each package by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, version in pins.items()}


def needed_packages(groups: Iterable[str], machine: str) -> set[str]:
    """Return the names of the packages that the library and some dependency groups of the project need on Linux."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    texts = [*project["project"]["dependencies"]]
    for group in groups:
        texts += project["dependency-groups"][group]
    waiting = [Requirement(text) for text in texts]
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in done:
                continue
            done.add((requirement.name, extra))
            environment = LINUX | {"platform_machine": machine, "extra": extra}
            for text in requires(requirement.name) or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate(environment):
                    waiting.append(further)
    return {str(canonicalize_name(name)) for name, _ in done}
