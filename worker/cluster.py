"""Shards as tasks on a Ray cluster, each with GPUs or a core of its own. Ray is imported only here, when it is asked for.

A task gives its shard back, and the process that asked for it writes it: no disk need be shared, and a shard is there whole or
not at all. What a lost node or killed process was training is trained again elsewhere.
"""

from __future__ import annotations

import os
import platform
import socket
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ldsboard
import worker
from worker import device
from worker.memory import OutOfMemory, is_exhausted
from worker.plan import ConfigurationError
from worker.processes import ProcessError
from worker.shards import Shard
from worker.training import Exhausted, Finished, Progress, finished, first_line

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from worker.plan import Configuration
    from worker.training import Job

RETRIES = 3
"""How often a shard is trained again whose process or node was lost."""


class Trained(NamedTuple):
    """A shard, the configuration that it was trained under there, and on which node and GPU."""

    shard: Shard
    configuration: Configuration
    where: str


def train(job: Job, shards: Iterable[range], address: str, gpus: int) -> Generator[Progress | Finished]:
    """Train shards on a Ray cluster, write them, and report on each.

    Parameters
    ----------
    shards
        The next one is taken only when there is a free GPU or core for it.
    address
        ``HOST:PORT`` of a running cluster, ``ray://…``, or ``local`` for one on this machine, which ends with the training.
    gpus
        How many GPUs Ray assigns to each shard; with 0 it is one core.

    Raises
    ------
    ConfigurationError
        Ray is not installed, there is no cluster or none with a GPU where one is asked for, or a node computes with another
        torch or instruction set than this machine.
    OutOfMemory
        The models that train together need more than there is.
    ProcessError
        A task failed, or was lost more than `RETRIES` times.
    """
    ray = _connect(address)
    try:
        yield from _train(ray, job, shards, gpus)
    finally:
        ray.shutdown()


def _connect(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What Ray does by itself by now, said so that older versions do not warn of it. A task without a GPU of its own may see
    # those of its node; it trains on a core all the same.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415  # starting takes seconds and a gigabyte, which only who asks for it should pay
    except ImportError as error:
        raise ConfigurationError("expected Ray to be installed: pip install -c constraints.txt --group ray") from error
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(device.THREADS))
    environment = {
        # What runs is this very code, whatever a node has installed; torch it has to have.
        "py_modules": [str(Path(str(package.__file__)).parent) for package in (ldsboard, worker)],
        "env_vars": one_thread | {name: os.environ[name] for name in device.PINS if name in os.environ},
    }
    _expect_someone(address)
    local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"expected a Ray cluster at {address}: {first_line(error)}") from error
    return ray


def _expect_someone(address: str) -> None:
    """Check that something listens: Ray itself would go on trying for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return  # "local", or "auto", which Ray finds out about at once
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigurationError(f"expected a Ray cluster at {address}, got: {error}") from error


def _train(ray: Any, job: Job, shards: Iterable[range], gpus: int) -> Generator[Progress | Finished]:
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(train_shard)
    shared, waiting = ray.put(job), iter(shards)
    running: list[Any] = []
    while True:
        free = _places(ray, gpus) - len(running)  # asked every time: a cluster may grow
        running += [task.remote(shared, numbers) for numbers in islice(waiting, free)]
        if not running:
            return
        (done, *_), running = ray.wait(running)
        yield from _written(job, _result(ray, done))


def _places(ray: Any, gpus: int) -> int:
    """Return how many shards can train at once."""
    unit, need = ("GPU", gpus) if gpus else ("CPU", 1)
    found = int(ray.cluster_resources().get(unit, 0))
    if found < need:
        raise ConfigurationError(f"expected a Ray cluster with at least {need} {unit}, got {found}")
    return found // need


def _result(ray: Any, task: Any) -> Exhausted | Trained:
    try:
        result: Exhausted | Trained = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise ProcessError(f"a training task failed:\n{error}") from error
    except ray.exceptions.RayError as error:
        raise ProcessError(
            f"a training task was lost {RETRIES + 1} times ({first_line(error)}). Start again: finished shards are kept."
        ) from error
    return result


def _written(job: Job, result: Exhausted | Trained) -> Generator[Progress | Finished]:
    if isinstance(result, Exhausted):
        raise OutOfMemory(job.plan.group, result.reason)
    shard, configuration, where = result
    configuration.keep(job.folder)  # refused where the node's arithmetic is not this machine's
    shard.write(job.folder / "shards", configuration.digest)
    yield Progress(len(shard.accuracy), float(shard.accuracy.sum()))
    yield finished(shard, where)


def train_shard(job: Job, numbers: range) -> Exhausted | Trained:
    """Train a shard in a process of Ray's."""
    trainer = job.trainer()
    try:
        *_, shard = trainer.train_shard(numbers)
    except (MemoryError, RuntimeError) as error:
        if not is_exhausted(error):
            raise
        return Exhausted(first_line(error))
    if not isinstance(shard, Shard):
        raise TypeError(f"expected a shard at the end, got {type(shard).__name__}")
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Trained(shard, trainer.configuration, platform.node() + (f", GPU {gpus}" if gpus else ""))
