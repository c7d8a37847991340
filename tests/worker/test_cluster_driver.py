"""What the process that started a training does when the nodes of a Ray cluster change, with a fake of Ray."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ldsboard.retraining.processes import ProcessError
from worker import cluster
from worker.cluster import _nodes, _train, train_shard
from worker.plan import ConfigurationError
from worker.reports import Finished, NodeLost, Progress
from worker.shards import split_into_shards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.reports import Report
    from worker.training import Job

SHARDS = split_into_shards(20, 4, 4)
"""Five shards, which hold all models of the fixture `job`."""


def node(name: str, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    host = {"NodeManagerHostname": name, "NodeManagerAddress": f"address of {name}"}
    return {"NodeID": f"id of {name}", "Alive": alive, "Resources": resources} | host


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Ray:
    """A fake of Ray, whose nodes change at each look at them. A task trains when its result is taken."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, *states: str, finished: bool = True, error: RayError | None = None) -> None:
        self.states: Iterator[str] = iter(states)
        self.state = ""
        self.finished = finished
        self.error = error
        self.running: list[int] = []

    def nodes(self) -> list[dict[str, Any]]:
        self.state = next(self.states, self.state)
        return [node(name, CPU=1.0, alive=name in self.state) for name in "abc"]

    def remote(self, **_: int) -> Any:
        return lambda function: SimpleNamespace(remote=lambda *arguments: lambda: function(*arguments))

    def put(self, thing: object) -> object:
        return thing

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout > 0
        self.running.append(len(tasks))
        return (tasks[:1], tasks[1:]) if self.finished and self.state else ([], tasks)

    def get(self, task: Any) -> Any:
        if self.error:
            raise self.error
        return task()


def reports(ray: Ray, job: Job) -> Iterator[Report]:
    return _train(ray, job, SHARDS, gpus=0, head="")


def test_each_node_trains_as_many_shards_as_it_has_the_gpus_or_cores_for() -> None:
    found = [node("a", CPU=8.0, GPU=3.0), node("b", CPU=2.0, GPU=1.0), node("c", CPU=4.0, alive=False, GPU=4.0)]
    ray = SimpleNamespace(nodes=lambda: found)
    assert _nodes(ray, 2, "") == {"id of a": ("a (address of a)", 1)}
    assert dict(_nodes(ray, 0, "").values()) == {
        "a (address of a)": 8,
        "b (address of b)": 2,
    }


@pytest.mark.parametrize(("gpus", "needed"), [(1, "1 GPU"), (2, "2 GPUs"), (0, "1 CPU")])
def test_cluster_without_the_needed_resources_is_rejected(gpus: int, needed: str, job: Job) -> None:
    ray = SimpleNamespace(nodes=lambda: [node("a", CPU=0.0), node("b", CPU=1.0, GPU=1.0, alive=False)])
    with pytest.raises(ConfigurationError, match=f"at least {needed} on a node, got none"):
        list(_train(ray, job, SHARDS, gpus, ""))


def test_after_a_loss_of_nodes_the_other_nodes_train_each_shard_once(job: Job) -> None:
    ray = Ray("abc", "b")
    told = list(reports(ray, job))
    assert ray.running == [
        3,
        2,
        1,
        1,
        1,
    ]  # at first one for each of three nodes; tasks of lost nodes stay in Ray's queue
    assert Counter(told) - Counter(report for report in told if isinstance(report, Progress | Finished)) == {
        NodeLost("a (address of a)", 1): 1,
        NodeLost("c (address of c)", 1): 1,
    }
    assert [report.start for report in told if isinstance(report, Finished)] == [0, 4, 8, 12, 16]
    assert sum(report.models for report in told if isinstance(report, Progress)) == 20


def test_new_node_trains_too(job: Job) -> None:
    ray = Ray("a", "ab")
    assert not [report for report in reports(ray, job) if isinstance(report, NodeLost)]
    assert ray.running == [1, 2, 2, 2, 1]


@pytest.mark.parametrize(("finished", "count"), [(False, 0), (True, 1)])
def test_training_ends_when_the_last_node_is_lost(job: Job, *, finished: bool, count: int) -> None:
    told: list[Report] = []
    with pytest.raises(ProcessError, match=r"lost all nodes that can train\. Finished shards are kept: add nodes, and"):
        told.extend(reports(Ray("a", "", finished=finished), job))
    assert told[-1] == NodeLost("a (address of a)", 0)
    assert len(list((job.folder / "shards").glob("*.npz"))) == count


def test_last_node_may_be_lost_after_the_last_shard(job: Job) -> None:
    told = list(reports(Ray(*["a"] * 5, ""), job))
    assert isinstance(told[-1], NodeLost)
    assert sum(isinstance(report, Finished) for report in told) == 5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RayTaskError("ValueError: no such recipe"), r"A training task failed:\nValueError: no such recipe"),
        (
            RayError("The node died.\nSee its log."),
            r"not retried again \(The node died\)\. Finished shards are kept: repeat",
        ),
    ],
)
def test_failed_or_lost_task_ends_the_training(error: RayError, expected: str, job: Job) -> None:
    with pytest.raises(ProcessError, match=expected):
        list(reports(Ray("a", error=error), job))


@pytest.mark.parametrize("failures", [0, 2, 3])
def test_training_ends_when_three_connections_to_the_head_fail(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([OSError("refused")] * failures)
    pauses: list[float] = []
    monkeypatch.setattr(cluster, "_connection_error", lambda _: next(errors, None))
    monkeypatch.setattr("worker.cluster.time.sleep", pauses.append)
    ray = SimpleNamespace(nodes=lambda: [node("a", CPU=1.0)])
    if failures == 3:
        with pytest.raises(ProcessError, match=r"Lost the head of the Ray cluster, a:1: refused\. Finished shards are"):
            _nodes(ray, 0, "a:1")
    else:
        assert list(_nodes(ray, 0, "a:1")) == ["id of a"]
    assert pauses == [2.0] * min(failures, 2)


def test_task_returns_its_shard_and_writes_nothing(job: Job) -> None:
    trained = train_shard(job, range(4))
    assert isinstance(trained, cluster.Trained)
    assert not (job.folder / "shards").exists()  # only the process that started the training writes
