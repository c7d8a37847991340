"""Training on real digits, at the smallest size."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.worker.tiny import HIDDEN_SEED, ROOT, TINY, command
from worker import device, recipes
from worker.data import digits
from worker.plan import HiddenSeed
from worker.training import Job, Progress, Trainer, begin, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    device.use_one_thread()


@pytest.fixture(scope="session")
def trainer() -> Trainer:
    return Trainer(TINY, recipes.load("digits-mlp"), digits(), HiddenSeed(int(HIDDEN_SEED, 16), bytes(16)))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A training folder that was begun, with nothing trained yet."""
    return begin(TINY, tmp_path / "begun", recipes.load, HIDDEN_SEED)[0]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all shards, trained by one process."""
    folder = tmp_path_factory.mktemp("trained")
    job, _ = begin(TINY, folder, recipes.load, HIDDEN_SEED)
    reports = list(train(job, [range(8), range(8, 20)], 1))
    assert sum(report.models for report in reports if isinstance(report, Progress)) == 20
    return folder


@pytest.fixture
def worker() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command line to its end."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False)

    return run
