"""Train shards as tasks on a Ray cluster. Each task has its own GPUs or CPU core. Only this module imports Ray, on demand.

A task returns its shard to the driver (the process that started the training), and the driver writes the file. So the nodes need
no common disk, and a shard file is complete or absent. If a node or process is lost, Ray trains the lost shard again elsewhere.
The driver counts the nodes while it waits: Ray itself would wait forever for a node, and ends the driver if the head is lost.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ldsboard
import worker
from ldsboard.counts import count
from ldsboard.retraining import device
from ldsboard.retraining.processes import ProcessError
from worker.memory import OutOfMemory, is_out_of_memory
from worker.plan import ConfigurationError
from worker.reports import Finished, MemoryExhausted, NodeLost, Progress
from worker.shards import Shard
from worker.training import first_line

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from worker.plan import Configuration
    from worker.reports import Report
    from worker.training import Job

RETRIES = 3
"""How often Ray retries a shard after its process or node was lost."""

POLL_SECONDS = 2.0
"""How often the nodes are counted while shards train, and the pause after a failed connection to the head."""

CONNECTIONS = 3
"""How often a connection to the head may fail before the cluster is lost. Ray would end this process after 60 seconds."""

CONTINUE = "Finished shards are kept: {}, and repeat the command to continue."


class Trained(NamedTuple):
    """A shard, the configuration as computed on the node that trained the shard, and that node's name and GPU numbers, if any."""

    shard: Shard
    configuration: Configuration
    where: str


class Node(NamedTuple):
    """A node of the cluster: its name with its address, and how many shards it can train at once."""

    name: str
    shards: int


def train(job: Job, shards: Iterable[range], address: str, gpus: int) -> Generator[Report]:
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
        A task failed, or was lost more than `RETRIES` times; or the head or all nodes that can train were lost.
    """
    ray = _connect(address)
    try:
        yield from _train(ray, job, shards, gpus, _head(ray, address))
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
    if error := _connection_error(address):
        raise ConfigurationError(f"Cannot connect to a Ray cluster at {address}: {error}.") from error


def _connection_error(address: str) -> OSError | None:
    """Connect to an address, and return the error, if any."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return None  # with "local" or "auto", Ray itself fails at once
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        return error
    return None


def _head(ray: Any, address: str) -> str:
    """Return the address of the cluster's head, or of the server for ``ray://``."""
    return address if address.startswith("ray://") else str(ray.get_runtime_context().gcs_address)


def _train(ray: Any, job: Job, shards: Iterable[range], gpus: int, head: str) -> Generator[Report]:
    nodes = _nodes(ray, gpus, head)
    if not nodes:
        need = count(gpus, "GPU") if gpus else "1 CPU"
        raise ConfigurationError(f"expected a Ray cluster with at least {need} on a node, got none")
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(train_shard)
    shared, waiting = ray.put(job), iter(shards)
    running: list[Any] = []
    while True:
        free = sum(node.shards for node in nodes.values()) - len(running)
        # `free` is negative after a loss of nodes. If nothing is running, take a shard in any case, to see the end of `waiting`.
        running += [task.remote(shared, numbers) for numbers in islice(waiting, max(0 if running else 1, free))]
        if not running:
            return
        done, running = ray.wait(running, timeout=POLL_SECONDS)
        for finished in done:
            yield from _write_and_report(job, _result(ray, finished))
        before, nodes = nodes, _nodes(ray, gpus, head)  # each time: a cluster can grow and shrink
        for lost in before.keys() - nodes.keys():
            yield NodeLost(before[lost].name, len(nodes))
        if running and not nodes:
            raise ProcessError(f"The Ray cluster lost all nodes that can train. {CONTINUE.format('add nodes')}")


def _nodes(ray: Any, gpus: int, head: str) -> dict[str, Node]:
    """Return the nodes that can train at least one shard, by their number in the cluster.

    Raises
    ------
    ProcessError
        No process listens at the address of the head.
    """
    for connection in range(CONNECTIONS):
        if not (error := _connection_error(head)):
            break
        if connection == CONNECTIONS - 1:
            text = CONTINUE.format("start the cluster again")
            raise ProcessError(f"Lost the head of the Ray cluster, {head}: {error}. {text}") from error
        time.sleep(POLL_SECONDS)
    unit, need = ("GPU", gpus) if gpus else ("CPU", 1)
    return {
        node["NodeID"]: Node(f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", shards)
        for node in ray.nodes()
        if node["Alive"] and (shards := int(node["Resources"].get(unit, 0)) // need)
    }


def _result(ray: Any, task: Any) -> MemoryExhausted | Trained:
    try:
        result: MemoryExhausted | Trained = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise ProcessError(f"A training task failed:\n{error}") from error
    except ray.exceptions.RayError as error:
        raise ProcessError(
            f"A training task was lost, and is not retried again ({first_line(error)}). "
            "Finished shards are kept: repeat the command to continue."
        ) from error
    return result


def _write_and_report(job: Job, result: MemoryExhausted | Trained) -> Generator[Report]:
    if isinstance(result, MemoryExhausted):
        raise OutOfMemory(job.plan.group, result.reason)
    shard, configuration, where = result
    configuration.save_or_check(job.folder)  # fails if the node's arithmetic differs from this machine's
    shard.write(job.folder / "shards", configuration.digest)
    yield Progress(len(shard.accuracy), float(shard.accuracy.sum()))
    yield Finished.of(shard, where)


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
