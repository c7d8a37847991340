"""Printed commands start the programs of this environment, whatever the shell's search path is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ldsboard.invocation import program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an environment's programs, with the project's folder as the current folder."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "ldsboard"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python3"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.usefixtures("environment")
def test_program_below_the_current_folder_has_a_relative_path() -> None:
    assert (program("python"), program("ldsboard")) == (".venv/bin/python", ".venv/bin/ldsboard")


def test_program_elsewhere_has_an_absolute_path(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert program("python") == str(environment / "python")


def test_program_that_the_shell_finds_has_its_name(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin")
    assert program("ldsboard") == "ldsboard"


@pytest.mark.usefixtures("environment")
def test_program_that_the_environment_lacks_has_its_name() -> None:
    assert program("other") == "other"
