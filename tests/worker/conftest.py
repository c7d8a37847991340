"""Fixtures that train the smallest plan on the real digits."""

from __future__ import annotations

import os
import shutil
import sys
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest
import torch

from ldsboard.retraining import device
from tests.worker.tiny import HIDDEN_SEED, TINY, run_in_this_process
from worker import recipes
from worker.__main__ import main
from worker.data import digits
from worker.gathering import gather
from worker.plan import HiddenSeed
from worker.reports import Progress
from worker.training import Job, Trainer, prepare_folder, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VARIABLES = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Run every test in this folder with one thread, and restore the process's settings for other folders."""
    device.use_one_thread()
    yield
    torch.set_num_threads(THREADS)
    for name, value in VARIABLES.items():
        os.environ.pop(name, None)
        os.environ.update({} if value is None else {name: value})


@pytest.fixture(scope="session")
def trainer() -> Trainer:
    return Trainer(TINY, recipes.load("digits-mlp"), digits(), HiddenSeed(int(HIDDEN_SEED, 16), bytes(16)))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A new training folder without any shard."""
    return prepare_folder(TINY, tmp_path / "begun", recipes.load, HIDDEN_SEED)[0]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder with all shards."""
    folder = tmp_path_factory.mktemp("trained")
    job, _ = prepare_folder(TINY, folder, recipes.load, HIDDEN_SEED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ldsboard.retraining.processes.run", run_in_this_process)
        reports = list(train(job, [range(8), range(8, 20)], 1))
    assert sum(report.models for report in reports if isinstance(report, Progress)) == 20
    return folder


@pytest.fixture(scope="module")
def pulled(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark folder as after a pull, with public/ only."""
    made, folder = tmp_path_factory.mktemp("made") / "benchmark", tmp_path_factory.mktemp("pulled")
    shutil.copytree(trained, made)
    gather(made, recipes.load)
    shutil.copytree(made / "public", folder / "public")
    return folder


@pytest.fixture
def train_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process instead of subprocesses, each of which takes two seconds to start."""
    monkeypatch.setattr("ldsboard.retraining.processes.run", run_in_this_process)


@pytest.fixture
def worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], train_in_process: None
) -> Callable[..., CompletedProcess[str]]:
    """Return a function that runs the command line, including training, in this process."""
    del train_in_process

    def run(*arguments: str | Path) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["worker", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return CompletedProcess(sys.argv, int(ended.value.code or 0), output.out, output.err)

    return run
