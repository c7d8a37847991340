"""A separate server with monitored memory, and the checks that follow every hostile request."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psutil import Process
from sqlalchemy import func, select

from app.db.models import Event, File, State, Submission
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service, npy, until
from tests.hostile.payloads import N, n

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.app.benchmarks import Example

MAX_MEMORY_GROWTH_KIB = 64 * 1024
SEEDS = itertools.count(1000)


def _peak_memory_kib(pid: int) -> int:
    """Return the peak resident memory of a process in KiB. psutil reports no peak on Linux, and sampling can miss it."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@dataclass(frozen=True)
class Board:
    """A server, its only benchmark, a user's token, and the server's memory in KiB while it was idle."""

    service: Service
    example: Example
    token: str
    idle_kib: int

    @property
    def memory_growth_kib(self) -> int:
        """The server's peak memory above its idle memory, in KiB."""
        return _peak_memory_kib(self.service.process.pid) - self.idle_kib

    def referenced_files(self) -> set[str]:
        """Return the SHA-256 of every file that a submission refers to."""
        with self.service.database.read() as session:
            return set(session.scalars(select(File.sha256)))

    def count_unexpired(self) -> int:
        """Return the number of submissions that have not expired."""
        with self.service.database.read() as session:
            return session.scalar(select(func.count()).where(Submission.state != State.EXPIRED)) or 0

    def count_claims(self) -> int:
        """Return the number of times that an evaluation was claimed."""
        with self.service.database.read() as session:
            return session.scalar(select(func.count()).where(Event.after == State.SCORING)) or 0

    def is_ready(self) -> bool:
        """Return whether the server answers and can use its database and its files."""
        return self.service.client.get(f"{self.service.url}/readyz").is_success

    def score_valid_file(self) -> None:
        """Submit a valid file and wait until the server has scored it."""
        self.service.submit_and_score(self.token, self.example.name, self.valid_file(), kind="practice")

    def send(self, content: bytes, encoding: str | None) -> httpx.Response:
        """Send a score file with the given Content-Encoding."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Encoding": encoding} if encoding else {})
        address = f"/benchmarks/{self.example.name}/submissions"
        return self.service.client.put(address, params={"method": "ours"}, content=content, headers=headers)

    def valid_file(self) -> bytes:
        """Return a valid score file that was not sent before."""
        return npy(self.example.scores(seed=next(SEEDS)))


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    example = write_benchmark(tmp_path_factory.mktemp("made"), "hostile", n=n, N=N, noise=8)
    with Service(tmp_path_factory.mktemp("hostile"), max_upload_bytes=2**28) as service:
        service.publish(example.folder)
        token = service.token("mallory", ranked_per_day=10_000, ranked_per_version=10_000)
        for seed in range(3):
            service.submit_and_score(token, example.name, npy(example.scores(seed=seed)))
        yield Board(service, example, token, Process(service.process.pid).memory_info().rss // 1024)


@pytest.fixture(scope="module", autouse=True)
def _scores_valid_file_after_module(board: Board) -> Iterator[None]:
    """Check after each module that the server still scores a valid file."""
    yield
    board.score_valid_file()


@pytest.fixture(autouse=True)
def _server_is_unharmed(board: Board) -> Iterator[None]:
    """Check after each test that no file of a rejected upload is left, and that the server answers and has not grown.

    If the test's file reached a scoring process, also check that the next valid file is scored. Otherwise
    `_scores_valid_file_after_module` is enough.
    """
    claims = board.count_claims()
    yield
    until(lambda: board.service.files() == board.referenced_files(), "only files that submissions refer to")
    assert board.is_ready()
    assert board.memory_growth_kib <= MAX_MEMORY_GROWTH_KIB
    if board.count_claims() > claims:
        board.score_valid_file()
