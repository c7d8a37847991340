"""Many clients, and a server that is killed in the midst of it: ``python -m tests.acceptance.chaos`` prints what came of it.

Every client sends its files one after the other, in parts or in one piece. When the server is away it tries again, and goes on
with what it had begun. At random moments, counted in what the clients see, the server is killed with -9 and started again.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
import numpy as np
from sqlalchemy import select

from app.db.models import State, Submission
from ldsboard.client import Client, ClientError, RefusedError
from ldsboard.formats import HEADER_LIMIT
from ldsboard.pending import pending_uploads
from ldsboard.sending import resume, submit
from tests.app.benchmarks import Example, write_benchmark
from tests.app.service import Service, until
from tests.processes import alive, children

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_TRAIN, TARGETS = 600, 40
"""Float64 scores of this size come in three parts of the smallest size."""


@dataclass
class Outcome:
    """What became of the files: how many were scored, the pids of the server's children, and what was not as it should be."""

    scored: int = 0
    kills: int = 0
    restarts: int = 0
    retries: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """A server, clients that send distinct files to it, and somebody who kills it."""

    def __init__(self, folder: Path, files: int, clients: int, kills: int, seed: int = 0) -> None:
        self.folder, self.files, self.clients, self.kills = folder, files, clients, kills
        self.random = random.Random(seed)  # noqa: S311 -- guards nothing
        self.example: Example = write_benchmark(folder / "made", "chaos", n=N_TRAIN, N=TARGETS)
        self.outcome = Outcome()
        self.accepted: dict[int, str] = {}
        self._seen = threading.Condition()
        self._count = 0
        self._finished = False

    def scores(self, number: int) -> NDArray[np.float64]:
        """Return the scores of a file; all are different."""
        return self.example.scores(noise=1 + number % 7, seed=number).astype(np.float64)

    def run(self) -> Outcome:
        """Send everything through the chaos, and look at what is there at the end."""
        began = time.monotonic()
        settings = {"part_bytes": HEADER_LIMIT, "retry_seconds": 0.0}
        with Service(self.folder / "service", **settings) as service:
            service.publish(self.example.folder)
            pids: set[int] = set()
            with ThreadPoolExecutor(self.clients + 1) as threads:
                killer = threads.submit(self._kill, service, pids)
                senders = [threads.submit(self._send_all, service, client) for client in range(self.clients)]
                try:
                    for sender in senders:
                        sender.result()
                finally:
                    with self._seen:
                        self._finished = True
                        self._seen.notify_all()
                    killer.result()
            service.wait_until_idle()
            pids |= children(service.process.pid)
            self._check_rows(service)
            service.stop()
            self._check_leftovers(service, pids)
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _tick(self, _bytes: int = 0) -> None:
        with self._seen:
            self._count += 1
            self._seen.notify_all()

    def _kill(self, service: Service, pids: set[int]) -> None:
        # Three parts and a few more steps for each file that comes in parts.
        moments = sorted(self.random.uniform(0, 4 * self.files) for _ in range(self.kills))
        for moment in moments:
            with self._seen:
                self._seen.wait_for(lambda moment=moment: self._finished or self._count >= moment)  # type: ignore[misc]
                if self._finished:
                    return
            pids |= children(service.process.pid)
            service.stop(signal.SIGKILL)
            self.outcome.kills += 1
            service.start()
            self.outcome.restarts += 1

    def _send_all(self, service: Service, client: int) -> None:
        token = service.token(f"client-{client}", ranked_per_day=10**6, ranked_per_version=10**6)
        for number in range(client, self.files, self.clients):
            path = self.folder / f"scores-{number}.npy"
            np.save(path, self.scores(number))
            way = self._in_parts if number % 3 else self._in_one_piece
            self.accepted[number] = way(service, token, number, path)
            self._tick()

    def _in_parts(self, service: Service, token: str, number: int, path: Path) -> str:
        """Send a file as the command line does, and go on with it after each interruption."""
        while True:
            try:
                with Client(service.url, token) as client:
                    if begun := pending_uploads(service.url, path):
                        return str(resume(client, begun[0], self._tick)["id"])
                    return str(submit(client, "chaos", path, method=f"m-{number}", advance=self._tick)["id"])
            except RefusedError:
                raise
            except ClientError:
                self.outcome.retries += 1

    def _in_one_piece(self, service: Service, token: str, number: int, path: Path) -> str:
        """Send a file as curl does, again and again under the same key until there is an answer."""
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"file-{number}"}
        address = f"{service.url}/api/v1/benchmarks/chaos/submissions?method=m-{number}"
        while True:
            try:
                with httpx.Client(timeout=60, trust_env=False) as client:
                    answer = client.put(address, content=path.read_bytes(), headers=headers)
            except httpx.TransportError:
                self.outcome.retries += 1
                until(lambda: _answers(service), "a server that was started again")
                continue
            if answer.status_code == httpx.codes.ACCEPTED:
                return str(answer.json()["id"])
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise AssertionError(answer.text)
            self.outcome.retries += 1

    def _check_rows(self, service: Service) -> None:
        """Every file is scored exactly once, with the number that the library gives, by the submission that was accepted."""
        with service.database.read() as session:
            rows = session.scalars(select(Submission)).all()
        for number, submission_id in self.accepted.items():
            scored = [row.id for row in rows if row.method == f"m-{number}" and row.state == State.SCORED]
            others = {row.state for row in rows if row.method == f"m-{number}"} - {State.SCORED}
            if scored != [submission_id] or not others <= {State.EXPIRED}:
                self.outcome.wrong.append(f"file {number}: accepted {submission_id}, scored {scored}, others {others}")
                continue
            expected = self.example.offline(self.scores(number))  # type: ignore[arg-type]
            found = service.measurements(submission_id)
            if {part: measurement.lds for part, measurement in found.items()} != {
                part: result.lds for part, result in expected.items()
            }:
                self.outcome.wrong.append(f"file {number}: another LDS than the library's")
            if [after for _, after in service.events(submission_id)].count(State.SCORED) != 1:
                self.outcome.wrong.append(f"file {number}: scored more than once")
            self.outcome.scored += 1

    def _check_leftovers(self, service: Service, pids: set[int]) -> None:
        """After the doctor no file is there that nothing refers to, and no process."""
        service.run("doctor", "--repair")
        agreed = service.run("doctor")
        if agreed.stdout != "Rows and files agree.\n":
            self.outcome.wrong.append(agreed.stdout + agreed.stderr)
        if len(service.files()) != self.files:
            self.outcome.wrong.append(f"{len(service.files())} files of {self.files}")
        if left := [pid for pid in pids if alive(pid)]:
            self.outcome.wrong.append(f"processes {left}")
        if begun := pending_uploads(service.url):
            self.outcome.wrong.append(f"clients would still go on with {[each.id for each in begun]}")


def _answers(service: Service) -> bool:
    try:
        return httpx.get(f"{service.url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Run the whole chaos."""
    with TemporaryDirectory() as folder:
        os.environ["LDSBOARD_CACHE"] = folder
        chaos = Chaos(Path(folder), files=200, clients=8, kills=10, seed=int.from_bytes(os.urandom(4), "big"))
        outcome = chaos.run()
    print(
        f"{outcome.scored} of {chaos.files} files scored exactly once with the library's number, sent by {chaos.clients} clients "
        f"while the server was killed {outcome.kills} times; {outcome.retries} times a client had to begin again or go on; "
        f"{outcome.seconds:.0f} s"
    )
    print("\n".join(outcome.wrong) or "No file and no process was left over.")
    sys.exit(bool(outcome.wrong) or outcome.scored != chaos.files)


if __name__ == "__main__":
    main()
