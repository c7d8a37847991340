"""The scaled topology on this machine: PostgreSQL, an S3-compatible store, two servers, and workers that score.

Commands and settings are those of ``docker/compose.scaled.yaml``.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import psutil

from tests.app.service import PATIENCE_SECONDS, ROOT, Service, until
from tests.openstack_swift import Swift
from tests.postgresql import running_cluster
from tests.scaled_topology import SCALED, SERVERS, WORK

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


IDLE_SECONDS = 0.1
"""Processor seconds that idle workers do not use within two seconds."""


class Topology:
    """Running processes with one database, one bucket and one data folder.

    Parameters
    ----------
    folder
        Existing folder for data and logs.
    workers
        Number of workers.
    settings
        Settings of servers and workers, besides those of the topology.
    """

    services: list[Service]

    def __init__(self, folder: Path, workers: int, **settings: Any) -> None:
        self._folder, self._count, self._settings = folder, workers, settings
        self._held = ExitStack()
        self._processes: dict[str, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as held:
            cluster = held.enter_context(running_cluster(durable=True))
            (self._folder / "store").mkdir()
            store = held.enter_context(Swift(self._folder / "store"))
            shared = store.settings("board") | SCALED | self._settings
            shared |= {"data_dir": self._folder / "data", "database_url": cluster.create()}
            self.services = [
                held.enter_context(Service(self._folder / f"server-{number}", **shared)) for number in range(SERVERS)
            ]
            self._processes = {"PostgreSQL": cluster.pid, "store": store.pid}
            self._processes |= {f"server {number + 1}": each.process.pid for number, each in enumerate(self.services)}
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    def start_workers(self) -> None:
        """Start the workers; wait until they have loaded the published benchmarks, and use next to no processor time."""
        for number in range(self._count):
            log = self._folder / f"worker-{number + 1}.log"
            with log.open("ab") as output:
                environment = self.services[0].environment
                worker = subprocess.Popen(WORK, cwd=ROOT, env=environment, stdout=output, stderr=output)
            self._held.callback(self._stop, worker)
            self._processes[f"worker {number + 1}"] = worker.pid
            until(lambda log=log: b"Evaluating" in log.read_bytes(), f"a worker that is ready; its log is {log}")  # type: ignore[misc]
        used = 0.0
        while self.worker_seconds() - used > IDLE_SECONDS:
            used = self.worker_seconds()
            time.sleep(2)

    def worker_seconds(self) -> float:
        """Return the processor seconds so far of all workers."""
        return sum(used for name, used in self.processor_seconds().items() if name.startswith("worker"))

    @staticmethod
    def _stop(worker: subprocess.Popen[bytes]) -> None:
        worker.terminate()
        status = worker.wait(PATIENCE_SECONDS)
        if status:
            raise RuntimeError(f"a worker ended with exit status {status}")

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor seconds so far of each process with its descendants, also of those that have ended."""
        return {name: processor_seconds(pid) for name, pid in self._processes.items()}


def processor_seconds(pid: int) -> float:
    """Return the user and system seconds of a process and its descendants."""
    process, total = psutil.Process(pid), 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += sum(each.cpu_times()[:4])
        except psutil.NoSuchProcess:  # it has ended meanwhile; a parent that waits for it has its seconds
            continue
    return total
