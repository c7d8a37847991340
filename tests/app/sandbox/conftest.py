"""Fixtures of the sandbox tests: a scorer, its log, and a score file."""

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
def stopped_scorer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scorer]:
    """A scorer that is not started, so that a test can redirect the standard error of its processes first."""
    monkeypatch.setattr(
        scorer_module, "INHERITED_VARIABLES", (*scorer_module.INHERITED_VARIABLES, "COVERAGE_PROCESS_CONFIG")
    )
    opened = Scorer()
    yield opened
    opened.stop()


@pytest.fixture
def scorer(stopped_scorer: Scorer) -> Scorer:
    stopped_scorer.start()
    return stopped_scorer


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path
