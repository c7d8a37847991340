"""Kill the server repeatedly while many clients send files: ``python -m tests.acceptance.chaos`` prints a report.

Every client sends its files one after another, as multipart or single uploads. When the server is down, the client retries and
resumes its upload. At random moments, measured in client progress events, the server is killed with SIGKILL and restarted.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import numpy as np
from sqlalchemy import select

from app.db.models import State, Submission
from ldsboard.client import Client, ClientError, RefusedError
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.pending import pending_uploads
from ldsboard.sending import resume, submit
from tests.app.benchmarks import Example, write_benchmark
from tests.app.service import Service, until
from tests.processes import alive, children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray

N_TRAIN, TARGETS = 600, 40
"""A file of float64 scores of this size has three upload parts of the smallest part size."""

SETTINGS = {"part_bytes": HEADER_LIMIT, "retry_seconds": 0.0}
"""Settings of the servers."""


@dataclass
class Outcome:
    """Numbers of scored files, kills and client retries, the duration, and the errors found."""

    scored: int = 0
    kills: int = 0
    retries: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


class Chaos:
    """A server, clients that send distinct files, and a thread that kills the server."""

    def __init__(self, folder: Path, files: int, clients: int, kills: int, seed: int = 0) -> None:
        self.folder, self.files, self.clients, self.kills = folder, files, clients, kills
        self.random = random.Random(seed)  # noqa: S311 -- not used for security
        self.example: Example = write_benchmark(folder / "made", "chaos", n=N_TRAIN, N=TARGETS)
        self.outcome = Outcome()
        self.accepted: dict[int, str] = {}
        self.pids: set[int] = set()
        self._progressed = threading.Condition()
        self._progress_events = 0

    def scores(self, number: int) -> NDArray[np.float64]:
        """Return the scores of a file; every file is different."""
        return self.example.scores(noise=1 + number % 7, seed=number).astype(np.float64)

    def run(self) -> Outcome:
        """Send all files while processes are being killed, then check rows, files and processes."""
        began = time.monotonic()
        with self._running() as services:
            first = services[0]
            first.publish(self.example.folder)
            tokens = [
                first.token(f"client-{client}", ranked_per_day=10**6, ranked_per_version=10**6)
                for client in range(self.clients)
            ]
            with ThreadPoolExecutor(self.clients) as threads:
                senders = [
                    threads.submit(self._send_all, services[client % len(services)], tokens[client], client)
                    for client in range(self.clients)
                ]
                for sender in senders:
                    sender.add_done_callback(lambda _: self._record_progress())
                # In this thread, because a process of PostgreSQL ends with the thread that has started it.
                self._kill_at_random_moments(services, senders)
                for sender in senders:
                    sender.result()
            first.wait_until_idle()
            self._note_processes(services)
            self._check_rows(first)
            self._check_stored()
            self._stop(services)
            self._check_leftovers(first)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    @contextmanager
    def _running(self) -> Iterator[list[Service]]:
        """Start everything, and yield the servers that clients can use."""
        with Service(self.folder / "service", **SETTINGS) as service:
            yield [service]

    def _stop(self, services: list[Service]) -> None:
        """Stop everything except the database."""
        for service in services:
            service.stop()

    def _kill_one(self, services: list[Service]) -> None:
        """Kill one process, start it again, and wait until it is ready."""
        services[0].stop(signal.SIGKILL)
        services[0].start()

    def _note_processes(self, services: list[Service]) -> None:
        """Note the processes that must not be left over."""
        for service in services:
            self.pids |= children(service.process.pid)

    def _record_progress(self, _bytes: int = 0) -> None:
        with self._progressed:
            self._progress_events += 1
            self._progressed.notify_all()

    def _kill_at_random_moments(self, services: list[Service], senders: list[Future[None]]) -> None:
        # A multipart upload makes three part events and a few more.
        moments = sorted(self.random.uniform(0, 4 * self.files) for _ in range(self.kills))
        for moment in moments:
            with self._progressed:
                self._progressed.wait_for(
                    lambda moment=moment: self._progress_events >= moment or all(sender.done() for sender in senders)  # type: ignore[misc]
                )
            if all(sender.done() for sender in senders):
                return
            self._note_processes(services)
            self._kill_one(services)
            self.outcome.kills += 1

    def _send_all(self, service: Service, token: str, client: int) -> None:
        for number in range(client, self.files, self.clients):
            path = self.folder / f"scores-{number}.npy"
            np.save(path, self.scores(number))
            send = self._send_multipart if number % 3 else self._send_single
            self.accepted[number] = send(service, token, number, path)
            self._record_progress()

    def _send_multipart(self, service: Service, token: str, number: int, path: Path) -> str:
        """Send a file as the command line does, and resume the upload after each interruption."""
        while True:
            try:
                with Client(service.url, token) as client:
                    if unfinished := pending_uploads(service.url, path):
                        return str(resume(client, unfinished[0], self._record_progress)["id"])
                    return str(submit(client, "chaos", path, method=f"m-{number}", advance=self._record_progress)["id"])
            except RefusedError:
                raise
            except ClientError:
                self.outcome.retries += 1

    def _send_single(self, service: Service, token: str, number: int, path: Path) -> str:
        """Send a file as curl does; retry with the same idempotency key until the server answers."""
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"file-{number}"}
        address = f"{service.url}/api/v1/benchmarks/chaos/submissions?method=m-{number}"
        while True:
            try:
                with httpx.Client(timeout=60, trust_env=False) as client:
                    answer = client.put(address, content=path.read_bytes(), headers=headers)
            except httpx.TransportError:
                self.outcome.retries += 1
                until(lambda: _is_ready(service), "a restarted server")
                continue
            if answer.status_code == httpx.codes.ACCEPTED:
                return str(answer.json()["id"])
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise AssertionError(answer.text)
            self.outcome.retries += 1
            until(lambda: _is_ready(service), "a ready server")

    def _check_rows(self, service: Service) -> None:
        """Check that each accepted submission, and no other, is scored exactly once with the LDS that the library computes."""
        with service.database.read() as session:
            rows = session.scalars(select(Submission)).all()
        for number, submission_id in self.accepted.items():
            scored = [row.id for row in rows if row.method == f"m-{number}" and row.state == State.SCORED]
            others = {row.state for row in rows if row.method == f"m-{number}"} - {State.SCORED}
            if scored != [submission_id] or not others <= {State.EXPIRED}:
                self.outcome.errors.append(f"file {number}: accepted {submission_id}, scored {scored}, others {others}")
                continue
            expected = self.example.offline(self.scores(number))  # type: ignore[arg-type]
            found = service.measurements(submission_id)
            if {part: measurement.lds for part, measurement in found.items()} != {
                part: result.lds for part, result in expected.items()
            }:
                self.outcome.errors.append(f"file {number}: the LDS differs from the library's")
            if [after for _, after in service.events(submission_id)].count(State.SCORED) != 1:
                self.outcome.errors.append(f"file {number}: scored more than once")
            self.outcome.scored += 1

    def _check_stored(self) -> None:
        """Check what is stored while everything runs and nothing is left to do."""

    def _check_leftovers(self, service: Service) -> None:
        """Check that after ``doctor --repair`` no unreferenced file and no process is left."""
        service.run("doctor", "--repair")
        agreed = service.run("doctor")
        if agreed.stdout != "Database rows and files agree.\n":
            self.outcome.errors.append(agreed.stdout + agreed.stderr)
        if (number := self._count_files(service)) != self.files:
            self.outcome.errors.append(f"{number} files of {self.files}")
        if left := [pid for pid in self.pids if alive(pid)]:
            self.outcome.errors.append(f"processes still running: {left}")
        if unfinished := pending_uploads(service.url):
            self.outcome.errors.append(f"clients still have unfinished uploads: {[each.id for each in unfinished]}")

    def _count_files(self, service: Service) -> int:
        """Return the number of stored files, including those that are still arriving."""
        return len(service.files())


def _is_ready(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/readyz", timeout=60, trust_env=False).is_success
    except httpx.TransportError:
        return False


def report(chaos: Chaos) -> None:
    """Run a test, and print what came of it."""
    outcome = chaos.run()
    print(
        f"{outcome.scored} of {chaos.files} files were scored exactly once with the library's LDS. {chaos.clients} clients sent "
        f"them while processes were killed {outcome.kills} times; clients retried or resumed {outcome.retries} times; "
        f"{outcome.seconds:.0f} s"
    )
    print("\n".join(outcome.errors) or "No file and no process is left over.")


def main() -> None:
    """Run the full test with 200 files, 8 clients and 10 kills."""
    with TemporaryDirectory() as folder:
        os.environ["LDSBOARD_CACHE"] = folder
        chaos = Chaos(Path(folder), files=200, clients=8, kills=10, seed=int.from_bytes(os.urandom(4), "big"))
        report(chaos)
    sys.exit(bool(chaos.outcome.errors) or chaos.outcome.scored != chaos.files)


if __name__ == "__main__":
    main()
