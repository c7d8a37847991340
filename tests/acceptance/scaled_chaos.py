"""Kill any process of the scaled topology while clients send files: ``python -m tests.acceptance.scaled_chaos`` prints a report.

The topology is that of ``docker/compose.scaled.yaml``, as processes: PostgreSQL, an S3-compatible store, two servers that share
both and a data folder, and two workers, with the commands and the settings of that file. The store is OpenStack Swift. Each time
one of the six is killed with SIGKILL (PostgreSQL with SIGQUIT, which ends all its processes at once) and started again. In an
outage, the store stays away until another process, which was killed too, has failed to start without it. At the end the bucket
must hold the files of the submissions and nothing else, and the scratch folder nothing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import obstore
from sqlalchemy import select

from app.db.models import Submission
from app.submissions.s3_connection import connect
from tests.acceptance.chaos import SETTINGS, Chaos, report
from tests.app.service import PATIENCE_SECONDS, ROOT, Service, until
from tests.openstack_swift import BUCKET, Swift
from tests.postgresql import running_cluster
from tests.processes import children
from tests.scaled_topology import SCALED, SERVERS, WORK, WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgresql import Cluster

EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "docker/.env.example").read_text(), re.MULTILINE))

UNUSABLE = 2
"""Exit status of a server or worker that cannot use the bucket when it starts."""


class ScaledChaos(Chaos):
    """The scaled topology, clients that send distinct files to both servers, and what kills the processes."""

    cluster: Cluster
    store: Swift
    first: Service
    workers: list[subprocess.Popen[bytes]]
    killed: list[str]

    @contextmanager
    def _running(self) -> Iterator[list[Service]]:
        (self.folder / "store").mkdir()
        with (
            running_cluster(durable=True) as self.cluster,
            Swift(self.folder / "store") as self.store,
            ExitStack() as held,
        ):
            shared = {"data_dir": self.folder / "data", "database_url": self.cluster.create()}
            shared |= SETTINGS | self.store.settings("") | SCALED | {"storage_url": EXAMPLE["LDSBOARD_STORAGE_URL"]}
            services = [held.enter_context(Service(self.folder / str(number), **shared)) for number in range(SERVERS)]
            self.first, self.environment, self.killed = services[0], services[0].environment, []
            self.workers_log = self.folder / "workers.log"
            self.workers = [self._start_worker() for _ in range(WORKERS)]
            held.callback(self._kill_workers)
            yield services

    def _run_worker(self) -> subprocess.Popen[bytes]:
        with self.workers_log.open("ab") as log:
            return subprocess.Popen(WORK, cwd=ROOT, env=self.environment, stdout=log, stderr=log)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        ready = self.workers_log.read_bytes().count(b"Press Ctrl-C") if self.workers_log.exists() else 0
        worker = self._run_worker()
        until(lambda: self.workers_log.read_bytes().count(b"Press Ctrl-C") > ready, "a worker that has started")
        return worker

    def _kill_workers(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def _kill_one(self, services: list[Service]) -> None:
        chosen = self.random.choice(["server", "server", "worker", "PostgreSQL", "store", "outage"])
        self.killed.append(chosen)
        if chosen == "PostgreSQL":
            self.cluster.restart()
        elif chosen == "store":
            self.store.kill()
            self.store.start()
        elif chosen == "outage":
            self.store.kill()
            self._restart(services, self.random.choice(["server", "worker"]), outage=True)
        else:
            self._restart(services, chosen)

    def _restart(self, services: list[Service], chosen: str, *, outage: bool = False) -> None:
        """Kill a server or worker, and start it again; in an outage it fails to start, and does once the store is back."""
        if chosen == "worker":
            number = self.random.randrange(WORKERS)
            self.workers[number].kill()
            self.workers[number].wait()
            if outage:
                self._end_outage(self._run_worker().wait(PATIENCE_SECONDS))
            self.workers[number] = self._start_worker()
        else:
            service = self.random.choice(services)
            service.process.kill()
            service.process.wait()
            if outage:
                self._end_outage(service.run("serve", "--port", str(service.port)).returncode)
            service.start()

    def _end_outage(self, status: int) -> None:
        if status != UNUSABLE:
            self.outcome.errors.append(f"a process without its store ended with exit status {status}")
        self.store.start()

    def _note_processes(self, services: list[Service]) -> None:
        super()._note_processes(services)
        for worker in self.workers:
            self.pids |= children(worker.pid)

    def _check_stored(self) -> None:
        """Wait until the servers have deleted what the killed processes have left in the bucket and in the scratch folder."""
        with suppress(AssertionError):
            until(lambda: self._stored_keys() == self._expected_keys(), "a bucket without leftovers")
        if differing := self._stored_keys() ^ self._expected_keys():
            self.outcome.errors.append(f"the bucket has lost, or holds in addition: {sorted(differing)}")
        if left := list((self.folder / "data" / "arriving").iterdir()):
            self.outcome.errors.append(f"left in the scratch folder: {left}")

    def _expected_keys(self) -> set[str]:
        """Return the keys of the files of the accepted submissions."""
        with self.first.database.read() as session:
            hashes = session.scalars(select(Submission.file_sha256).where(Submission.id.in_(self.accepted.values())))
            return {f"{sha256[:2]}/{sha256}" for sha256 in hashes if sha256}

    def _stored_keys(self) -> set[str]:
        """Return the keys of all objects in the bucket, below the prefix of the servers or not."""
        bucket = connect(self.first.settings, BUCKET, "", seconds=60, retries=3)
        return {entry["path"] for batch in obstore.list(bucket) for entry in batch}

    def _count_files(self, service: Service) -> int:
        del service
        return len(self._stored_keys())

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
