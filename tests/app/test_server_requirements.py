"""The lock file of the server image: hashes for exactly the packages that the server needs, in the tested versions.

If a test here fails after a change of versions or dependencies, run ``make lock``.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "docker/server-requirements.txt").read_text()
DOCKERFILE = (ROOT / "docker/server.Dockerfile").read_text()
ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.14",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def _locked() -> dict[str, str]:
    """Return the locked version of each package by name."""
    return {str(canonicalize_name(name)): version for name, version, _ in ENTRY.findall(LOCK)}


def _needed(machine: str) -> set[str]:
    """Return the names of the packages that the server needs on Linux, from the metadata of this environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    waiting = [
        Requirement(text) for text in [*project["project"]["dependencies"], *project["dependency-groups"]["server"]]
    ]
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


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_lock_file_holds_exactly_the_packages_that_the_server_needs(machine: str) -> None:
    assert set(_locked()) == _needed(machine)


def test_locked_versions_are_the_tested_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    tested = {str(canonicalize_name(name)): version for name, version in pins.items()}
    locked = _locked()
    assert len(locked) > 30
    assert locked == {name: tested[name] for name in locked}


def test_lock_file_holds_nothing_but_versions_with_hashes() -> None:
    comment, _, entries = LOCK.partition("\n")
    assert comment.startswith("# ")
    assert comment.endswith("make lock")
    assert ENTRY.sub("", entries).strip() == ""
    assert "//" not in LOCK


def test_image_installs_only_wheels_with_locked_hashes() -> None:
    assert "FROM python:3.11-" in DOCKERFILE
    first, *others = re.findall(r"pip install (.*?) *\\?$", DOCKERFILE, re.MULTILINE)
    assert {"--require-hashes", "--only-binary :all:", "-r server-requirements.txt"} <= set(re.split(r" (?=-)", first))
    assert [set(other.split()) for other in others] == [{"--no-cache-dir", "--no-deps", "--no-build-isolation", "."}]
    assert "!docker/server-requirements.txt" in (ROOT / ".dockerignore").read_text().splitlines()
