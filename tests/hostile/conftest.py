"""A server of its own, whose memory is watched, and what must be true after everything that is done to it."""

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
from tests.hostile.cases import N, n

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.app.benchmarks import Example

MOST_MEMORY_KIB = 64 * 1024
SEEDS = itertools.count(1000)


def _most_kib(pid: int) -> int:
    """Return the most memory that a process ever had. psutil knows no peak on Linux, and one sampled now and then is none."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@dataclass(frozen=True)
class Board:
    """A server, its one benchmark, a user's token, and the memory that the server took when it was calm."""

    service: Service
    example: Example
    token: str
    calm_kib: int

    @property
    def grown_kib(self) -> int:
        """By how much the server's memory was ever larger than when it was calm."""
        return _most_kib(self.service.process.pid) - self.calm_kib

    def kept(self) -> set[str]:
        """Return the files that submissions refer to."""
        with self.service.database.read() as session:
            return set(session.scalars(select(File.sha256)))

    def living(self) -> int:
        """Return how many submissions there are that have not expired."""
        with self.service.database.read() as session:
            return session.scalar(select(func.count()).where(Submission.state != State.EXPIRED)) or 0

    def taken(self) -> int:
        """Return how often a file was given to a scorer."""
        with self.service.database.read() as session:
            return session.scalar(select(func.count()).where(Event.after == State.SCORING)) or 0

    def answers(self) -> bool:
        """Tell whether the server answers, and has its database and its files."""
        return self.service.client.get(f"{self.service.url}/readyz").is_success

    def score_a_good_file(self) -> None:
        """Have a good file scored, as somebody else would."""
        self.service.scored(self.token, self.example.name, self.good(), kind="practice")

    def send(self, content: bytes, encoding: str | None) -> httpx.Response:
        """Send a score file under a Content-Encoding."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Encoding": encoding} if encoding else {})
        address = f"/benchmarks/{self.example.name}/submissions"
        return self.service.client.put(address, params={"method": "ours"}, content=content, headers=headers)

    def good(self) -> bytes:
        """Return a score file that nobody sent before."""
        return npy(self.example.scores(seed=next(SEEDS)))


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    example = write_benchmark(tmp_path_factory.mktemp("made"), "hostile", n=n, N=N, noise=8)
    with Service(tmp_path_factory.mktemp("hostile"), max_upload_bytes=2**28) as service:
        service.publish(example.folder)
        token = service.token("mallory", ranked_per_day=10_000, ranked_per_version=10_000)
        for seed in range(3):
            service.scored(token, example.name, npy(example.scores(seed=seed)))
        yield Board(service, example, token, Process(service.process.pid).memory_info().rss // 1024)


@pytest.fixture(scope="module", autouse=True)
def _still_scores(board: Board) -> Iterator[None]:
    """A good file is scored after all of a module."""
    yield
    board.score_a_good_file()


@pytest.fixture(autouse=True)
def _unharmed(board: Board) -> Iterator[None]:
    """Afterwards nothing is left of what was refused, the server answers and has not grown.

    The next file is scored at once where a scorer had to do with the last one; where none had, after the module.
    """
    taken = board.taken()
    yield
    until(lambda: board.service.files() == board.kept(), "no file but those of submissions")
    assert board.answers()
    assert board.grown_kib <= MOST_MEMORY_KIB
    if board.taken() > taken:
        board.score_a_good_file()
