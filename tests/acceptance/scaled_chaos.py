"""Kill any process of the scaled topology while clients send files: ``python -m tests.acceptance.scaled_chaos`` prints a report.

The topology is that of ``docker/compose.scaled.yaml``, as processes: PostgreSQL, two servers that share it and a data folder, and
two workers, with the commands and the settings of that file. Each time one of the five is killed with
SIGKILL (PostgreSQL with SIGQUIT, which ends all its processes at once) and started again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml

from tests.acceptance.chaos import SETTINGS, Chaos, report
from tests.app.service import PATIENCE_SECONDS, ROOT, Service
from tests.postgresql import running_cluster
from tests.processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgresql import Cluster

COMPOSE = yaml.safe_load((ROOT / "docker/compose.scaled.yaml").read_text())["services"]
WORKERS = COMPOSE["worker"]["deploy"]["replicas"]
SCALED = {"scoring_processes": int(COMPOSE["server"]["environment"]["LDSBOARD_SCORING_PROCESSES"])}


class ScaledChaos(Chaos):
    """The scaled topology, clients that send distinct files to both servers, and what kills the processes."""

    cluster: Cluster
    workers: list[subprocess.Popen[bytes]]
    killed: list[str]

    @contextmanager
    def _running(self) -> Iterator[list[Service]]:
        with running_cluster(durable=True) as self.cluster, ExitStack() as held:
            shared = SETTINGS | SCALED | {"data_dir": self.folder / "data", "database_url": self.cluster.create()}
            services = [
                held.enter_context(Service(self.folder / str(number), **shared))
                for number in range(COMPOSE["server"]["deploy"]["replicas"])
            ]
            self.environment, self.killed = services[0].environment, []
            self.workers = [self._start_worker() for _ in range(WORKERS)]
            held.callback(self._kill_workers)
            yield services

    def _start_worker(self) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as log:
            command = [sys.executable, "-m", "app", *COMPOSE["worker"]["command"]]
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def _kill_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def _kill_one(self, services: list[Service]) -> None:
        chosen = self.random.choice(["server", "server", "worker", "PostgreSQL"])
        self.killed.append(chosen)
        if chosen == "PostgreSQL":
            self.cluster.restart()
        elif chosen == "worker":
            number = self.random.randrange(WORKERS)
            self.workers[number].kill()
            self.workers[number].wait()
            self.workers[number] = self._start_worker()
        else:
            service = self.random.choice(services)
            service.process.kill()
            service.process.wait()
            service.start()

    def _note_processes(self, services: list[Service]) -> None:
        super()._note_processes(services)
        for worker in self.workers:
            self.pids |= children(worker.pid)

    def _stop(self, services: list[Service]) -> None:
        super()._stop(services)
        for worker in self.workers:
            if worker.poll() is not None:
                self.outcome.errors.append(f"a worker had ended with exit status {worker.returncode}")
            worker.terminate()
            if worker.wait(PATIENCE_SECONDS):
                self.outcome.errors.append(f"a stopped worker ended with exit status {worker.returncode}")


def main() -> None:
    """Run the full test with 200 files, 8 clients and 20 kills."""
    with TemporaryDirectory() as folder:
        os.environ["LDSBOARD_CACHE"] = folder
        chaos = ScaledChaos(Path(folder), files=200, clients=8, kills=20, seed=int.from_bytes(os.urandom(4), "big"))
        report(chaos)
        print("Killed, in this order:", ", ".join(chaos.killed))
    sys.exit(bool(chaos.outcome.errors) or chaos.outcome.scored != chaos.files)


if __name__ == "__main__":
    main()
