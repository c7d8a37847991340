"""A scorer, and a file for it to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.scoring.sandbox import scorer as scorer_module
from app.scoring.sandbox.scorer import Scorer
from tests.app.sandbox.scorers import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "stderr")


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorer]:
    """Not started, so that a test may choose where its processes write standard error to."""
    monkeypatch.setattr(scorer_module, "INHERITED_VARIABLES", (*scorer_module.INHERITED_VARIABLES, "COVERAGE_PROCESS_CONFIG"))
    opened = Scorer()
    yield opened
    opened.stop()


@pytest.fixture
def scorer(idle: Scorer) -> Scorer:
    idle.start()
    return idle


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path
