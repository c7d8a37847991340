"""The lock file of the server image: hashes for exactly the packages that the server needs, in the tested versions.

If a test here fails after a change of versions or dependencies, run ``make lock``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.linux_packages import needed_packages, pinned_versions

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "docker/server-requirements.txt").read_text()
DOCKERFILE = (ROOT / "docker/server.Dockerfile").read_text()
ENTRY = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def _locked() -> dict[str, str]:
    """Return the locked version of each package by name."""
    return {str(canonicalize_name(name)): version for name, version, _ in ENTRY.findall(LOCK)}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_lock_file_holds_exactly_the_packages_that_the_server_needs(machine: str) -> None:
    assert set(_locked()) == needed_packages(["server"], machine)


def test_locked_versions_are_the_pinned_versions() -> None:
    tested, locked = pinned_versions(), _locked()
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
