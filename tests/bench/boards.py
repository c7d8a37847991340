"""Measure a leaderboard of 5,000 entries, on SQLite and on PostgreSQL: ``python -m tests.bench.boards``.

1,000 users own five entries each, written directly into the database, and every 25th entry is the mean over three files. The
time of ranking is from the changed board to the stored ranks. The time of a view is the server's: from a request to the last
byte of the response, on this machine.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import httpx
import numpy as np
from sqlalchemy import select

from app.benchmarks import catalog
from app.db.models import Measurement, Submission
from app.leaderboard.ranking import Ranker, compute_ranks, note_change, store_ranks
from ldsboard.core.board import rank_board
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service
from tests.bench.pages import processor_ms
from tests.postgresql import running_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.db.sessions import Database
    from app.leaderboard.ranking import Ranks

ENTRIES, OWNERS, RANKING, REPLICATED = 5000, 1000, 800, 25
SIZES = (500, 1000, 2000, 5000)
ROUNDS = 15
MIB = 2**20
VIEWS = {
    "the leaderboard": "/benchmarks/bench",
    "sorted by cost": "/benchmarks/bench?sort=cost",
    "searched": "/benchmarks/bench?q=trak+lab-01",
    "the last page": "/benchmarks/bench?after=4950",
    "home": "/",
    "entries, API": "/api/v1/benchmarks/bench/leaderboard?limit=50",
    "500 entries, API": "/api/v1/benchmarks/bench/leaderboard",
    "all entries, CSV": "/api/v1/benchmarks/bench/leaderboard?format=csv",
}


def anonymous_bytes() -> int:
    """Return the anonymous memory of this process."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def with_peak(work: Callable[[], object]) -> tuple[float, float, float]:
    """Run `work`; return wall seconds, processor seconds, and the growth of this process's memory in MiB at its largest."""
    ended, peak, before = Event(), [0], anonymous_bytes()

    def watch() -> None:
        while not ended.wait(0.005):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    wall, cpu = perf_counter(), process_time()
    work()
    wall, cpu = perf_counter() - wall, process_time() - cpu
    ended.set()
    watcher.join()
    return wall, cpu, max(0.0, (peak[0] - before) / MIB)


def show_ranking(name: str, work: Callable[[], object]) -> None:
    """Run `work` and print its times and its memory."""
    wall, cpu, peak = with_peak(work)
    print(f"  {name:44}{wall:9.2f}{cpu:9.2f}{peak:9.0f}", flush=True)


def measure_ranks() -> None:
    """Print the time of `rank_board` for boards of several sizes."""
    rng = np.random.default_rng(5)
    influence_kM = 0.3 * rng.normal(size=RANKING) + 0.1 * rng.normal(size=(ENTRIES, RANKING))
    lds = 0.7 * rng.beta(2, 3, size=ENTRIES)
    for k in SIZES:
        everyone = np.ones(k, dtype=np.bool_)
        first = int(lds[:k].argmax())
        show_ranking(f"rank_board, {k} entries", partial(rank_board, lds[:k], influence_kM[:k], everyone, first))


def measure_database(database: Database) -> None:
    """Print how long the parts of a new ranking of the whole board take."""
    with database.read() as session:
        query = select(Measurement.evaluation_id, Measurement.influence).where(Measurement.part == "ranking")
        show_ranking("read the influences", lambda: session.execute(query).all())
    forget_places(database)
    with database.read() as session:
        version = catalog.find_version(session, "bench")
        found: list[Ranks] = []
        show_ranking("read and rank, without a lock", lambda: found.append(compute_ranks(session, version)))
    with database.write() as session:
        version = catalog.find_version(session, "bench")
        show_ranking("store, with the write lock", partial(store_ranks, session, version, found[0]))
    forget_places(database)
    show_ranking("all of a ranking", lambda: Ranker(database).renew_all())


def forget_places(database: Database) -> None:
    """Make the entry with the highest LDS private or public again, so that the whole board is ranked anew."""
    with database.write() as session:
        version = catalog.find_version(session, "bench")
        query = select(Submission).where(Submission.method.like("%.00%")).order_by(Submission.id)
        hidden = session.scalars(query).first()
        assert hidden is not None
        hidden.visibility = "public" if hidden.visibility == "private" else "private"
        note_change(session, version)


def touch(database: Database) -> None:
    """Commit a change, so that no kept response is used any more."""
    with database.write() as session:
        submission = session.scalars(select(Submission).order_by(Submission.id)).first()
        assert submission is not None
        submission.title += "."


def measure_views(service: Service) -> None:
    """Print the milliseconds of the first view after a change, and of a repeated view."""
    print(f"  {'milliseconds':44}{'first':>9}{'worst':>9}{'server':>9}{'again':>9}")
    headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as browser:
        for name, path in VIEWS.items():
            first, again, used = [], [], 0.0
            browser.get(path).raise_for_status()
            for _ in range(ROUNDS):
                touch(service.database)
                browser.get("/healthz")
                before, start = processor_ms(service.process.pid), perf_counter()
                browser.get(path).raise_for_status()
                first.append(1000 * (perf_counter() - start))
                used += processor_ms(service.process.pid) - before
                start = perf_counter()
                browser.get(path)
                again.append(1000 * (perf_counter() - start))
            print(
                f"  {name:44}{median(first):9.1f}{max(first):9.1f}{used / ROUNDS:9.1f}{median(again):9.1f}", flush=True
            )


def main() -> None:
    """Run the benchmark and print its results."""
    print(f"Ranks of a board, {RANKING} ranking subsets")
    print(f"  {'':44}{'wall s':>9}{'cpu s':>9}{'MiB':>9}")
    measure_ranks()
    for name in sys.argv[1:] or ("SQLite", "PostgreSQL"):
        with TemporaryDirectory() as folder, ExitStack() as stack:
            settings: dict[str, str] = {}
            if name == "PostgreSQL":
                settings["database_url"] = stack.enter_context(running_cluster()).create()
            example = write_benchmark(Path(folder), "bench", ranking=RANKING)
            service = Service(Path(folder) / "service", **settings)
            service.publish(example.folder)
            with service.database.write() as session:
                version = catalog.find_version(session, "bench")
                factories.add_entries(session, version, ENTRIES, owners=OWNERS, replicated=REPLICATED)
            print(f"A board of {ENTRIES} entries of {OWNERS} users on {name}")
            measure_database(service.database)
            with service:
                measure_views(service)


if __name__ == "__main__":
    main()
