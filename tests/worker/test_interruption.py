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

from tests.worker.tiny import HIDDEN_SEED, ROOT, alive, children_of, command

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 120.0
"""Seconds after which a run that should have ended is killed, so that the test fails instead of hanging."""

OPTIONS = ("--public", "100", "--hidden", "100", "--hidden-seed", HIDDEN_SEED, "--processes", "2")


@contextmanager
def training(folder: Path, shard_size: int) -> Iterator[subprocess.Popen[str]]:
    """Run a training of 400 models, in a process group as a shell makes one, from when both processes exist."""
    run = command("train", "digits-mlp", "--out", folder, *OPTIONS, "--shard-size", str(shard_size))
    with subprocess.Popen(run, cwd=ROOT, text=True, stderr=subprocess.PIPE, start_new_session=True) as process:
        while len(trainers(process.pid)) < 2:
            with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
                process.wait(0.01)
        ending = Timer(PATIENCE, lambda: os.killpg(process.pid, signal.SIGKILL))
        ending.start()
        try:
            yield process
        finally:
            ending.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def trainers(pid: int) -> list[int]:
    """Return the processes that train; multiprocessing starts another that watches over them."""
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children_of(pid)}
    return [child for child, path in commands.items() if path.exists() and b"spawn_main" in path.read_bytes()]


def test_ctrl_c_finishes_the_shards_under_way_and_begins_no_other(tmp_path: Path) -> None:
    with training(tmp_path, shard_size=20) as run:
        os.killpg(run.pid, signal.SIGINT)  # while the processes still import torch
        _, said = run.communicate()
    assert run.returncode == 130
    assert "Finishing the shards that are being trained" in said
    assert "Still missing: models 40-399.\nStopped as asked. The same command goes on from here." in said
    assert sorted(path.name for path in tmp_path.glob("shards/models-*")) == [
        "models-000000-000020.npz",
        "models-000020-000040.npz",
    ]
    assert not (tmp_path / "public").exists()
    (log,) = tmp_path.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["begun", "shard", "shard", "ended"]
    assert events[-1]["done"] == 40  # no model was trained for nothing


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with training(tmp_path, shard_size=200) as run:
        assert run.stderr is not None
        children = trainers(run.pid)
        os.killpg(run.pid, signal.SIGINT)
        while "Ctrl-C again ends at once" not in run.stderr.readline():
            assert run.poll() is None
        os.killpg(run.pid, signal.SIGINT)
        run.communicate()
    assert run.returncode == 130
    assert not list(tmp_path.glob("shards/models-*"))
    assert not any(map(alive, children))
