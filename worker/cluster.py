"""Train shards as tasks on a Ray cluster. Each task has its own GPUs or CPU core. Only this module imports Ray, on demand.

A task returns its shard to the driver (the process that started the training), and the driver writes the file. So the nodes need
no common disk, and a shard file is complete or absent. If a node or process is lost, Ray trains the lost shard again elsewhere.
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
from ldsboard.counts import count
from worker import device
from worker.memory import OutOfMemory, is_out_of_memory
from worker.plan import ConfigurationError
from worker.processes import ProcessError
from worker.shards import Shard
from worker.training import Finished, MemoryExhausted, Progress, finished_report, first_line

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from worker.plan import Configuration
    from worker.training import Job

RETRIES = 3
"""How often Ray retries a shard after its process or node was lost."""


class Trained(NamedTuple):
    """A shard, the configuration as computed on the node that trained the shard, and that node's name and GPU numbers, if any."""

    shard: Shard
    configuration: Configuration
    where: str


def train(job: Job, shards: Iterable[range], address: str, gpus: int) -> Generator[Progress | Finished]:
    """Train shards on a Ray cluster, write them, and yield reports.

    Parameters
    ----------
    shards
        Ranges of model numbers, one for each shard. The next range is taken only when a GPU or core is free.
    address
        ``HOST:PORT`` of a running cluster, ``ray://…``, or ``local`` to start Ray on this machine until training ends.
    gpus
        GPUs for each shard; 0: one CPU core for each shard.

    Raises
    ------
    ConfigurationError
        Ray is not installed, no cluster answers, the cluster lacks the requested GPUs, or the torch version or instruction set of
        a node differs from that of this machine.
    OutOfMemory
        The models of a group need more memory than a node has.
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
    # Zero is the default in newer versions of Ray; older versions warn if the variable is not set. With zero, a task without GPUs
    # can see the GPUs of its node, but still trains on a CPU core.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray  # noqa: PLC0415  # importing and starting Ray takes seconds and a gigabyte
    except ImportError as error:
        raise ConfigurationError(
            "Ray is not installed. Install it: pip install -c constraints.txt --group ray"
        ) from error
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(device.THREADS))
    environment = {
        # Send this code to the nodes, because the version installed there can differ. Each node needs torch.
        "py_modules": [str(Path(str(package.__file__)).parent) for package in (ldsboard, worker)],
        "env_vars": one_thread | {name: os.environ[name] for name in device.PINS if name in os.environ},
    }
    _check_reachable(address)
    local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if address == "local" else {}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"Cannot connect to a Ray cluster at {address}: {first_line(error)}.") from error
    return ray


def _check_reachable(address: str) -> None:
    """Raise ConfigurationError unless a process listens at the address. Ray itself would retry for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return  # with "local" or "auto", Ray itself fails at once
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigurationError(f"Cannot connect to a Ray cluster at {address}: {error}.") from error


def _train(ray: Any, job: Job, shards: Iterable[range], gpus: int) -> Generator[Progress | Finished]:
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(train_shard)
    shared, waiting = ray.put(job), iter(shards)
    running: list[Any] = []
    while True:
        free = _capacity(ray, gpus) - len(running)  # read the capacity each time: a cluster can grow
        running += [task.remote(shared, numbers) for numbers in islice(waiting, free)]
        if not running:
            return
        (done, *_), running = ray.wait(running)
        yield from _write_and_report(job, _result(ray, done))


def _capacity(ray: Any, gpus: int) -> int:
    """Return how many shards the cluster can train at once; raise ConfigurationError if the cluster can train none."""
    unit, need = ("GPU", gpus) if gpus else ("CPU", 1)
    found = int(ray.cluster_resources().get(unit, 0))
    if found < need:
        raise ConfigurationError(f"expected a Ray cluster with at least {count(need, unit)}, got {found}")
    return found // need


def _result(ray: Any, task: Any) -> MemoryExhausted | Trained:
    try:
        result: MemoryExhausted | Trained = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise ProcessError(f"A training task failed:\n{error}") from error
    except ray.exceptions.RayError as error:
        raise ProcessError(
            f"A training task was lost {RETRIES + 1} times ({first_line(error)}). "
            "Finished shards are kept: repeat the command to continue."
        ) from error
    return result


def _write_and_report(job: Job, result: MemoryExhausted | Trained) -> Generator[Progress | Finished]:
    if isinstance(result, MemoryExhausted):
        raise OutOfMemory(job.plan.group, result.reason)
    shard, configuration, where = result
    configuration.save_or_check(job.folder)  # fails if the node's arithmetic differs from this machine's
    shard.write(job.folder / "shards", configuration.digest)
    yield Progress(len(shard.accuracy), float(shard.accuracy.sum()))
    yield finished_report(shard, where)


def train_shard(job: Job, numbers: range) -> MemoryExhausted | Trained:
    """Train a shard in a Ray task, without writing it. Return the shard with its origin, or a report that memory ran out."""
    trainer = job.trainer()
    try:
        *_, shard = trainer.train_shard(numbers)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return MemoryExhausted(first_line(error))
    if not isinstance(shard, Shard):
        raise TypeError(f"The trainer yielded {type(shard).__name__} instead of a shard at the end.")
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    return Trained(shard, trainer.configuration, platform.node() + (f", GPU {gpus}" if gpus else ""))
