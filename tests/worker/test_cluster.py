"""Training on a local Ray cluster, where one training process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.processes import command_line, descendants
from tests.worker.tiny import HIDDEN_SEED, ROOT, command, run_in_subprocess
from worker import recipes
from worker.gathering import gather
from worker.plan import Plan
from worker.shards import Shard
from worker.training import prepare_folder

pytestmark = pytest.mark.slow

GATED = Path(__file__).with_name("gated.py")
PLAN = Plan(str(GATED), public=20, ranking=20, runs=2, group=5)
OPTIONS = ("--public", "20", "--hidden", "20", "--group", "5", "--shard-size", "20", "--hidden-seed", HIDDEN_SEED)


def wait_for_two_trainers(run: subprocess.Popen[str], *excluded: int) -> set[int]:
    """Wait until two Ray processes other than the excluded ones train, and return their pids."""
    while (
        len(found := {pid for pid in descendants(run.pid) - {*excluded} if "ray::train_shard" in command_line(pid)}) < 2
    ):
        with pytest.raises(subprocess.TimeoutExpired):  # fail if the run has ended
            run.wait(0.05)
    return found


def test_killed_ray_process_loses_no_shard_and_changes_no_bit(tmp_path: Path) -> None:
    out, without_ray, gate = tmp_path / "ray", tmp_path / "straight", tmp_path / "gate"
    gate.touch()  # no shard can finish while this file exists
    # Ray assigns the two fake GPUs like real ones; the digits train on a CPU core.
    environment = os.environ | {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2, "GPU": 2}), "GATE": str(gate)}
    arguments = command("train", GATED, "--out", out, *OPTIONS, "--device", "cpu", "--gpus-per-shard", "1", "--ray")
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE) as run:
        try:
            killed, _ = wait_for_two_trainers(run)
            os.kill(killed, signal.SIGKILL)
            wait_for_two_trainers(run, killed)
        finally:
            gate.unlink()  # let the run end, also after a failure
        _, output = run.communicate()
    assert run.returncode == 0, output
    assert "gated version 1 is in" in output
    (log,) = out.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["where"].rpartition(", ")[2] for event in events if event["event"] == "shard"} == {"GPU 0", "GPU 1"}
    assert events[-1] | {"time": ""} == {"time": "", "event": "ended", "done": 80, "models": 80}

    job, configuration = prepare_folder(PLAN, without_ray, recipes.load, HIDDEN_SEED)
    *_, shard = job.trainer().train_shard(range(80))
    assert isinstance(shard, Shard)
    shard.write(without_ray / "shards", configuration.digest)
    gather(without_ray, recipes.load)
    for name in ("public/margins.npy", "hidden/margins.npy"):
        assert (out / name).read_bytes() == (without_ray / name).read_bytes(), name


def test_train_reports_address_without_ray_cluster(tmp_path: Path) -> None:
    run = run_in_subprocess("train", "digits-mlp", "--out", tmp_path, *OPTIONS, "--ray", "127.0.0.1:9")
    assert run.returncode == 2
    assert "Cannot connect to a Ray cluster at 127.0.0.1:9" in run.stderr
