"""Training on a Ray cluster of several nodes, of which nodes are killed while they train."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.worker.ray_nodes import Cluster, ray_cluster
from tests.worker.tiny import HIDDEN_SEED, ROOT, command
from worker import recipes
from worker.gathering import gather
from worker.plan import Configuration, Plan
from worker.shards import Shard, read_shards
from worker.training import prepare_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 120.0
"""Time after which a run is killed, so that the test fails instead of hanging."""

GATED = Path(__file__).with_name("gated.py")
PLAN = Plan(str(GATED), public=20, ranking=20, runs=2, group=5)
SIZE = 20
OPTIONS = ("--public", "20", "--hidden", "20", "--group", "5", "--shard-size", str(SIZE), "--hidden-seed", HIDDEN_SEED)


class Gates:
    """Decides for each node when its processes train, with the recipe `gated`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, node: str, permits: int = 0) -> dict[str, str]:
        """Return the environment of a new node, whose processes wait at a closed gate after `permits` models."""
        (self.folder / node / "permits").mkdir(parents=True)
        (self.folder / node / "waiting").mkdir()
        for permit in range(permits):
            (self.folder / node / "permits" / str(permit)).touch()
        (self.folder / node / "gate").touch()
        return {name.upper(): str(self.folder / node / name) for name in ("gate", "permits", "waiting")}

    def waiting(self, node: str) -> set[int]:
        """Return the pids of the processes of a node that have waited at its gate."""
        return {int(path.name) for path in (self.folder / node / "waiting").iterdir()}

    def open(self, node: str) -> None:
        (self.folder / node / "gate").unlink()


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path / "gates")


@pytest.fixture(scope="module")
def without_ray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The benchmark, trained in this process as a single shard."""
    folder = tmp_path_factory.mktemp("straight")
    job, configuration = prepare_folder(PLAN, folder, recipes.load, HIDDEN_SEED)
    *_, shard = job.trainer().train_shard(range(80))
    assert isinstance(shard, Shard)
    shard.write(folder / "shards", configuration.digest)
    gather(folder, recipes.load)
    return folder


@contextmanager
def training(cluster: Cluster, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a training on a cluster, and kill it if it still runs at the end of the block."""
    arguments = command("train", GATED, "--out", out, *OPTIONS, "--device", "cpu", "--ray", cluster.address)
    with subprocess.Popen(
        arguments, cwd=ROOT, env=cluster.environment, text=True, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        timer = Timer(TIMEOUT_SECONDS, run.kill)
        timer.start()
        try:
            yield run
        finally:
            timer.cancel()
            run.kill()


def wait_until(condition: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    """Wait until a condition is true, and fail if the run has ended before."""
    while not condition():
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.05)


def read_until(text: str, run: subprocess.Popen[str]) -> str:
    """Read the error output of a run up to the line with a text, and return the output."""
    assert run.stderr is not None
    output = ""
    while text not in output:
        line = run.stderr.readline()
        assert line, output
        output += line
    return output


def shards(out: Path) -> list[str]:
    return sorted(path.name for path in out.glob("shards/models-*.npz"))


def events(out: Path) -> list[dict[str, Any]]:
    (log,) = out.glob("shards/*.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def assert_equal_benchmarks(out: Path, expected: Path) -> None:
    for name in ("public/margins.npy", "hidden/margins.npy"):
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    (whole,) = read_shards(expected / "shards", Configuration.read(expected).digest)
    parts = read_shards(out / "shards", Configuration.read(out).digest)
    assert [(part.start, part.stop) for part in parts] == [(start, start + SIZE) for start in range(0, 80, SIZE)]
    assert np.concatenate([part.margins for part in parts]).tobytes() == whole.margins.tobytes()


def test_killed_node_loses_no_shard_counts_none_twice_and_changes_no_bit(
    tmp_path: Path, gates: Gates, without_ray: Path
) -> None:
    out = tmp_path / "out"
    with ray_cluster() as cluster:
        cluster.start("kept", 1, **gates.create("kept"))
        cluster.start("killed", 1, **gates.create("killed", permits=SIZE))
        with training(cluster, out) as run:
            # One node has finished a shard and has begun another one; the other node has begun a shard.
            wait_until(lambda: len(shards(out)) == 1 and all(map(gates.waiting, ("kept", "killed"))), run)
            assert all(gates.waiting(name) <= cluster.processes(name) for name in ("kept", "killed"))
            cluster.kill("killed")
            output = read_until("Lost node", run)  # Ray may repeat the shard before
            gates.open("kept")
            output += run.communicate()[1]
    assert run.returncode == 0, output
    assert output.count("Lost node") == 1
    assert "(127.0.0.3): 1 node left. Its unfinished shards are trained again.\n" in output
    first, *log, last = events(out)
    assert (first["event"], last["event"], last["done"]) == ("begun", "ended", 80)
    assert sorted(event["event"] for event in log) == ["lost", *["shard"] * 4]
    assert sorted(event["start"] for event in log if event["event"] == "shard") == [0, 20, 40, 60]
    assert [event["done"] for event in log if event["event"] == "shard"] == [20, 40, 60, 80]
    assert_equal_benchmarks(out, without_ray)


def test_training_without_head_ends_and_can_be_continued(
    tmp_path: Path, gates: Gates, without_ray: Path, worker: Callable[..., CompletedProcess[str]]
) -> None:
    out = tmp_path / "out"
    with ray_cluster() as cluster:
        cluster.start("head", 1, **gates.create("head", permits=SIZE))
        with training(cluster, out) as run:
            wait_until(lambda: len(shards(out)) == 1 and bool(gates.waiting("head")), run)
            cluster.kill("head")
            _, output = run.communicate()
    assert run.returncode == 1, output
    assert f"error: Lost the head of the Ray cluster, {cluster.address}: " in output
    assert output.endswith("Finished shards are kept: start the cluster again, and repeat the command to continue.\n")
    continue_and_compare(out, without_ray, worker)


def continue_and_compare(out: Path, expected: Path, worker: Callable[..., CompletedProcess[str]]) -> None:
    """Repeat the command without Ray, and check that only missing models are trained and that no bit differs."""
    (kept,) = shards(out)
    before = (out / "shards" / kept).stat()
    assert events(out)[-1] | {"time": ""} == {
        "time": "",
        "event": "failed",
        "error": "ProcessError",
        "done": 20,
        "models": 80,
    }
    repeated = worker("train", GATED, "--out", out, *OPTIONS, "--device", "cpu")
    assert repeated.returncode == 0, repeated.stderr
    assert "60 of 80 models to train" in repeated.stderr
    after = (out / "shards" / kept).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert_equal_benchmarks(out, expected)
