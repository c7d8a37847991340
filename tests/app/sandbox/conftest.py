"""Fixtures of the sandbox tests: a sandbox, its log, and a score file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.scoring.sandbox import client as client_module
from app.scoring.sandbox.client import Sandbox
from tests.app.sandbox.processes import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "stderr")


@pytest.fixture
def stopped_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that is not started, so that a test can redirect the standard error of its processes first."""
    monkeypatch.setattr(
        client_module, "INHERITED_VARIABLES", (*client_module.INHERITED_VARIABLES, "COVERAGE_PROCESS_CONFIG")
    )
    opened = Sandbox()
    yield opened
    opened.stop()


@pytest.fixture
def sandbox(stopped_sandbox: Sandbox) -> Sandbox:
    stopped_sandbox.start()
    return stopped_sandbox


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path
