"""Clients that send score files to the servers of a topology, and one that reads the leaderboard meanwhile."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING

import httpx
import numpy as np
from sqlalchemy import func, select

from app.db.accounts import User
from app.db.models import FINAL, Event, State, Submission
from ldsboard.client import Client
from ldsboard.sending import submit
from tests.app.service import PATIENCE_SECONDS, npy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.app.service import Service

READS = 20
"""Leaderboard reads per second beside the clients that send."""

BENCHMARK, BURST_BENCHMARK = "load", "burst"


def distinct(scores_nN: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Return scores that differ from those of every other number, in the first target."""
    changed_nN = scores_nN.copy()
    changed_nN[:, 0] = np.random.default_rng(number).normal(size=len(changed_nN))
    return changed_nN


def send_and_wait(services: Sequence[Service], files: Sequence[Path], clients: int) -> float:
    """Send files by several clients, as the command line does; return the seconds until all of them are scored.

    Each client sends its next file when the result of its last one has arrived, to a server of its own.
    """
    tokens = [_token(services[0], f"client-{number}") for number in range(clients)]

    def send_all(number: int) -> None:
        service = services[number % len(services)]
        with Client(service.url, tokens[number]) as client:
            for path in files[number::clients]:
                submission = submit(client, BENCHMARK, path, method=path.stem)
                view = service.wait_until_final(submission["id"])
                if view["state"] != State.SCORED:
                    raise RuntimeError(f"The submission was not scored: {view}")

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(send_all, range(clients)))
    return time.perf_counter() - began


def send_burst(
    services: Sequence[Service], scores_nN: NDArray[np.float32], files: dict[str, int], clients: int
) -> float:
    """Send the given number of files of each user, one user after another; return the seconds until all are scored."""
    tokens = {user: _token(services[0], user) for user in files}
    sending = [user for user, count in files.items() for _ in range(count)]

    def send(number: int) -> None:
        service, user = services[number % len(services)], sending[number]
        answer = service.submit(
            tokens[user], BURST_BENCHMARK, npy(distinct(scores_nN, number)), method=f"burst-{number}"
        )
        if answer.status_code != httpx.codes.ACCEPTED:
            raise RuntimeError(answer.text)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(send, range(len(sending))))
    while _unfinished(services[0]):
        time.sleep(0.1)
    return time.perf_counter() - began


def _unfinished(service: Service) -> bool:
    with service.database.read() as session:
        return session.scalar(select(func.count()).where(Submission.state.not_in(FINAL))) != 0


def _token(service: Service, user: str) -> str:
    return service.token(user, ranked_per_day=10**6, ranked_per_version=10**6)


def waits(service: Service, methods: Sequence[str]) -> dict[str, list[float]]:
    """Return for each user the seconds from the end of the upload of each of some methods to its result."""
    query = select(User.name, Submission.id, Event.after, Event.at)
    query = query.join(Submission, Submission.user_id == User.id).join(Event, Event.submission_id == Submission.id)
    query = query.where(Submission.method.in_(methods))
    moments: dict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)
    with service.database.read() as session:
        for user, submission_id, after, at in session.execute(query):
            moments[user, submission_id][after] = at
    found = defaultdict(list)
    for (user, _), moved in moments.items():
        found[user].append((moved[State.SCORED] - moved[State.QUEUED]).total_seconds())
    return found


@contextmanager
def reading(services: Sequence[Service]) -> Iterator[list[float]]:
    """Read the leaderboard from the servers in turns during a ``with`` block, and yield the seconds of each read."""
    seconds: list[float] = []
    done = threading.Event()

    def read() -> None:
        with httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False) as client:
            for service in cycle(services):
                began = time.perf_counter()
                client.get(f"{service.url}/benchmarks/{BENCHMARK}").raise_for_status()
                seconds.append(time.perf_counter() - began)
                if done.wait(max(0.0, 1 / READS - seconds[-1])):
                    return

    with ThreadPoolExecutor(1) as thread:
        reader = thread.submit(read)
        try:
            yield seconds
        finally:
            done.set()
    reader.result()
