"""Training on a real Ray cluster of this machine, one of whose processes is killed while it trains."""

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


def two_that_train(run: subprocess.Popen[str], *but: int) -> set[int]:
    """Return the two processes of Ray's that train, others than these, as soon as they do."""
    while len(found := {pid for pid in descendants(run.pid) - {*but} if "ray::train_shard" in command_line(pid)}) < 2:
        with pytest.raises(subprocess.TimeoutExpired):  # it must not end by itself
            run.wait(0.05)
    return found


def test_a_killed_process_costs_no_shard_and_no_bit(tmp_path: Path) -> None:
    out, straight, gate = tmp_path / "ray", tmp_path / "straight", tmp_path / "gate"
    gate.touch()  # no shard is finished before it is gone
    # Two GPUs that Ray believes in: it assigns them as it does real ones, and the digits train on a core anyway.
    environment = os.environ | {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2, "GPU": 2}), "GATE": str(gate)}
    arguments = command("train", GATED, "--out", out, *OPTIONS, "--device", "cpu", "--gpus-per-shard", "1", "--ray")
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE) as run:
        try:
            killed, _ = two_that_train(run)
            os.kill(killed, signal.SIGKILL)
            two_that_train(run, killed)
        finally:
            gate.unlink()  # whatever went wrong, the run can end
        _, said = run.communicate()
    assert run.returncode == 0, said
    assert "gated version 1 is in" in said
    (log,) = out.glob("shards/*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert {event["where"].rpartition(", ")[2] for event in events if event["event"] == "shard"} == {"GPU 0", "GPU 1"}
    assert events[-1] | {"time": ""} == {"time": "", "event": "ended", "done": 80, "models": 80}

    job, configuration = prepare_folder(PLAN, straight, recipes.load, HIDDEN_SEED)
    *_, shard = job.trainer().train_shard(range(80))
    assert isinstance(shard, Shard)
    shard.write(straight / "shards", configuration.digest)
    gather(straight, recipes.load)
    for name in ("public/margins.npy", "hidden/margins.npy"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name


def test_an_address_without_a_cluster_is_said_to_be_one(tmp_path: Path) -> None:
    run = run_in_subprocess("train", "digits-mlp", "--out", tmp_path, *OPTIONS, "--ray", "127.0.0.1:9")
    assert run.returncode == 2
    assert "Cannot connect to a Ray cluster at 127.0.0.1:9" in run.stderr
