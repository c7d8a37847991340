"""Ctrl-C at a terminal: the whole foreground group gets it, once or twice."""

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

PATIENCE = 120.0
"""Seconds after which a run that should have ended is killed, so that the test fails instead of hanging."""

GATED = Path(__file__).with_name("gated.py")
OPTIONS = ("--public", "100", "--hidden", "100", "--hidden-seed", HIDDEN_SEED, "--shard-size", "5")


@contextmanager
def training(folder: Path, processes: int) -> Iterator[subprocess.Popen[str]]:
    """Run a training of 400 models, in a process group as a shell makes one, from when all of its processes exist.

    None of its shards is finished before the file `gate` in the folder is gone.
    """
    gate = folder / "gate"
    gate.touch()
    run = command("train", GATED, "--out", folder, *OPTIONS, "--processes", str(processes))
    with subprocess.Popen(
        run, cwd=ROOT, env=os.environ | {"GATE": str(gate)}, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        ending = Timer(PATIENCE, lambda: os.killpg(process.pid, signal.SIGKILL))
        ending.start()
        try:
            while len(trainers(process.pid)) < processes:
                with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
                    process.wait(0.01)
            yield process
        finally:
            ending.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def trainers(pid: int) -> set[int]:
    """Return the processes that train; multiprocessing starts another that watches over them."""
    return {child for child in children(pid) if "spawn_main" in command_line(child)}


def answered(run: subprocess.Popen[str]) -> str:
    """Return what a run says, up to its answer to the first Ctrl-C."""
    assert run.stderr is not None
    said = ""
    while "Press Ctrl-C again to stop at once" not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    return said


def test_ctrl_c_finishes_the_shards_under_way_and_begins_no_other(tmp_path: Path) -> None:
    with training(tmp_path, processes=2) as run:
        os.killpg(run.pid, signal.SIGINT)  # most likely while the processes still import torch
        said = answered(run)
        (tmp_path / "gate").unlink()
        said += run.communicate()[1]
    assert run.returncode == 130
    assert "Finishing the running shards" in said
    assert "Still missing: models 10-399.\nStopped. Repeat the command to continue." in said
    assert sorted(path.name for path in tmp_path.glob("shards/models-*")) == [
        "models-000000-000005.npz",
        "models-000005-000010.npz",
    ]
    assert not (tmp_path / "public").exists()
    (log,) = tmp_path.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begun", "shard", "shard", "ended"]
    assert events[-1]["done"] == 10  # no model was trained for nothing


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with training(tmp_path, processes=2) as run:
        started = trainers(run.pid)
        os.killpg(run.pid, signal.SIGINT)
        answered(run)
        os.killpg(run.pid, signal.SIGINT)
        run.communicate()
    assert run.returncode == 130
    assert (tmp_path / "gate").exists()
    assert not list(tmp_path.glob("shards/models-*"))
    assert not any(map(alive, started))
