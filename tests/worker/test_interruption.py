"""Ctrl-C at a terminal, once or twice: the whole foreground process group receives SIGINT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import pytest

from tests.processes import alive, children, command_line
from tests.worker.tiny import HIDDEN_SEED, ROOT, command

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS = 120.0
"""Time after which a run is killed, so that the test fails instead of hanging."""

GATED = Path(__file__).with_name("gated.py")
OPTIONS = ("--public", "100", "--hidden", "100", "--hidden-seed", HIDDEN_SEED, "--shard-size", "5")


@contextmanager
def training(folder: Path, processes: int) -> Iterator[subprocess.Popen[str]]:
    """Start a training of 400 models in a new process group, and enter the block when all its processes exist.

    No shard can finish while the file `gate` exists in the folder.
    """
    gate = folder / "gate"
    gate.touch()
    run = command("train", GATED, "--out", folder, *OPTIONS, "--processes", str(processes))
    with subprocess.Popen(
        run, cwd=ROOT, env=os.environ | {"GATE": str(gate)}, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        timer = Timer(TIMEOUT_SECONDS, lambda: os.killpg(process.pid, signal.SIGKILL))
        timer.start()
        try:
            while len(trainers(process.pid)) < processes:
                with pytest.raises(subprocess.TimeoutExpired):  # fail if the run has ended
                    process.wait(0.01)
            yield process
        finally:
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def trainers(pid: int) -> set[int]:
    """Return the pids of the training processes, without multiprocessing's resource tracker."""
    return {child for child in children(pid) if "spawn_main" in command_line(child)}


def read_until_interrupt_message(run: subprocess.Popen[str]) -> str:
    """Read the output of a run up to its message about the first Ctrl-C, and return the output."""
    assert run.stderr is not None
    output = ""
    while "Press Ctrl-C again to stop at once" not in output:
        line = run.stderr.readline()
        assert line, output
        output += line
    return output


def test_ctrl_c_finishes_current_shards_and_starts_no_other(tmp_path: Path) -> None:
    with training(tmp_path, processes=2) as run:
        os.killpg(run.pid, signal.SIGINT)  # most likely while the processes still import torch
        output = read_until_interrupt_message(run)
        (tmp_path / "gate").unlink()
        output += run.communicate()[1]
    assert run.returncode == 130
    assert "Finishing the running shards" in output
    assert "Still missing: models 10-399.\nStopped. Repeat the command to continue." in output
    assert sorted(path.name for path in tmp_path.glob("shards/models-*")) == [
        "models-000000-000005.npz",
        "models-000005-000010.npz",
    ]
    assert not (tmp_path / "public").exists()
    (log,) = tmp_path.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begun", "shard", "shard", "ended"]
    assert events[-1]["done"] == 10  # all trained models are in finished shards


def test_second_ctrl_c_ends_training_at_once(tmp_path: Path) -> None:
    with training(tmp_path, processes=2) as run:
        started = trainers(run.pid)
        os.killpg(run.pid, signal.SIGINT)
        read_until_interrupt_message(run)
        os.killpg(run.pid, signal.SIGINT)
        run.communicate()
    assert run.returncode == 130
    assert (tmp_path / "gate").exists()
    assert not list(tmp_path.glob("shards/models-*"))
    assert not any(map(alive, started))
