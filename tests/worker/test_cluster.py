"""Training on a real Ray cluster of this machine, one of whose processes is killed while it trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.worker.tiny import HIDDEN_SEED, ROOT, children_of, command
from worker import recipes
from worker.gathering import gather
from worker.plan import Plan
from worker.shards import Shard
from worker.training import begin

PLAN = Plan("digits-mlp", public=20, ranking=20, runs=2, group=5)
OPTIONS = ("--public", "20", "--hidden", "20", "--group", "5", "--shard-size", "20", "--hidden-seed", HIDDEN_SEED)


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    new = {pid}
    while new:
        found |= new
        new = {child for parent in new if Path(f"/proc/{parent}").exists() for child in children_of(parent)} - found
    return found


def title(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes() if path.exists() else b""


def kill_one_that_trains(run: subprocess.Popen[str]) -> None:
    """Kill a process of Ray's in the midst of a task: stopped first, so that it cannot finish before it is killed."""
    while True:
        with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
            run.wait(0.01)
        for pid in descendants(run.pid):
            if b"ray::train_shard" in title(pid):
                os.kill(pid, signal.SIGSTOP)
                while "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                    os.sched_yield()
                training = b"ray::train_shard" in title(pid)
                os.kill(pid, signal.SIGKILL)
                if training:
                    return


def test_a_killed_process_costs_no_shard_and_no_bit(tmp_path: Path) -> None:
    out, straight = tmp_path / "ray", tmp_path / "straight"
    # Two GPUs that Ray believes in: it assigns them as it does real ones, and the digits train on a core anyway.
    environment = os.environ | {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2, "GPU": 2})}
    arguments = command(
        "train", "digits-mlp", "--out", out, *OPTIONS, "--device", "cpu", "--gpus-per-shard", "1", "--ray"
    )
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE) as run:
        kill_one_that_trains(run)
        _, said = run.communicate()
    assert run.returncode == 0, said
    assert "digits-mlp version 1 is in" in said
    (log,) = out.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["where"].rpartition(", ")[2] for event in events if event["event"] == "shard"} == {"GPU 0", "GPU 1"}
    assert events[-1] | {"time": ""} == {"time": "", "event": "ended", "done": 80, "models": 80}

    job, configuration = begin(PLAN, straight, recipes.load, HIDDEN_SEED)
    *_, shard = job.trainer().train_shard(range(80))
    assert isinstance(shard, Shard)
    shard.write(straight / "shards", configuration.digest)
    gather(straight, recipes.load)
    for name in ("public/margins.npy", "hidden/margins.npy"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name


def test_an_address_without_a_cluster_is_said_to_be_one(tmp_path: Path) -> None:
    run = subprocess.run(
        command("train", "digits-mlp", "--out", tmp_path, *OPTIONS, "--ray", "127.0.0.1:9"),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 2
    assert "expected a Ray cluster at 127.0.0.1:9" in run.stderr
