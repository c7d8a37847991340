"""Nodes of a Ray cluster on the loopback addresses of this machine, each of them with a session of its own, to kill it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.processes import alive

if TYPE_CHECKING:
    from collections.abc import Iterator

# Ray chooses all ports; the port of the autoscaler's metrics would otherwise be fixed. Ray reports a lost node after three failed
# checks in three seconds instead of five in fifteen.
SETTINGS = {
    "AUTOSCALER_METRIC_PORT": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
}
OPTIONS = ("--block", "--disable-usage-stats", "--num-gpus=0", "--object-store-memory=100000000")
HEAD_OPTIONS = ("--head", "--port=0", "--include-dashboard=false")


@dataclass
class Cluster:
    """A Ray cluster.

    Attributes
    ----------
    folder
        Folder for all files of the cluster.
    environment
        Environment of all nodes, and of trainings on the cluster.
    nodes
        Processes that were started as nodes, by their names.
    address
        Address of the head.
    """

    folder: Path
    environment: dict[str, str]
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    address: str = ""

    def start(self, name: str, cores: int, **environment: str) -> None:
        """Start a node with a number of CPU cores, and wait until it has joined. The first node is the head."""
        place = [*HEAD_OPTIONS, f"--temp-dir={self.folder}"] if not self.nodes else [f"--address={self.address}"]
        where = (
            f"--node-ip-address=127.0.0.{2 + len(self.nodes)}"  # not 127.0.0.1, for which Ray takes the outer address
        )
        arguments = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            *place,
            where,
            f"--num-cpus={cores}",
            *OPTIONS,
        ]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            self.nodes[name] = process = subprocess.Popen(
                arguments,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment | environment,
                start_new_session=True,
            )
        while "now block forever" not in (text := log.read_text()):  # the last message, after the address
            with pytest.raises(subprocess.TimeoutExpired):  # fail if the node has ended
                process.wait(0.05)
        if not self.address:
            (self.address,) = re.findall(r"ray start --address='(.+)'", text)

    def processes(self, name: str) -> set[int]:
        """Return the pids of all processes of a node."""
        return {pid for pid in psutil.pids() if _session(pid) == self.nodes[name].pid and alive(pid)}

    def kill(self, name: str) -> None:
        """Kill all processes of a node by SIGKILL, as when its machine loses power."""
        while running := self.processes(name):
            for pid in running:
                os.kill(pid, signal.SIGKILL)
        self.nodes[name].wait()


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """Enter the block with a cluster without nodes, and kill its nodes at the end."""
    # Ray needs a short path, since the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        environment = os.environ | SETTINGS | {"RAY_AUTH_TOKEN": secrets.token_hex()}
        cluster = Cluster(Path(folder), environment)
        try:
            yield cluster
        finally:
            for name in cluster.nodes:
                cluster.kill(name)
