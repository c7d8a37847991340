"""Repeated views of a full leaderboard: requests a second, now and at an earlier commit, and the time of the first view."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import httpx

from app.benchmarks import catalog
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.service import ROOT, Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.siege.report import Report

EARLIER = "3486f9a"
RANKING, FACTOR, SECONDS = 800, 10.0, 3.0
MANY_ENTRIES = 5000
PAGES = {
    "leaderboard": "/benchmarks/bench",
    "sorted by cost": "/benchmarks/bench?sort=cost",
    "searched": "/benchmarks/bench?q=trak+lab-01",
    "API": "/api/v1/benchmarks/bench/leaderboard",
}
EARLIER_SERVER = """
import sys
from pathlib import Path
from app.services import benchmarks
from tests.app import crowd
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service
folder = Path(sys.argv[1])
example = write_benchmark(folder, "bench", ranking=int(sys.argv[3]))
service = Service(folder / "service")
service.publish(example.folder)
with service.database.write() as session:
    crowd.fill(session, benchmarks.find(session, "bench"), int(sys.argv[2]))
with service:
    print(service.url, flush=True)
    sys.stdin.read()
"""
"""A program for the tree of the earlier commit: it serves a full leaderboard until its standard input is closed."""


@contextmanager
def earlier_server(folder: Path, entries: int) -> Iterator[str]:
    """Serve a full leaderboard by the earlier commit; yield the address of the server."""
    git, tar = shutil.which("git"), shutil.which("tar")
    assert git is not None
    assert tar is not None
    archive = subprocess.run([git, "archive", EARLIER], cwd=ROOT, capture_output=True, check=True).stdout
    (folder / "tree").mkdir()
    subprocess.run([tar, "-x", "-C", str(folder / "tree")], input=archive, check=True)
    arguments = [sys.executable, "-c", EARLIER_SERVER, str(folder), str(entries), str(RANKING)]
    with subprocess.Popen(
        arguments, cwd=folder / "tree", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@contextmanager
def server(folder: Path, entries: int) -> Iterator[Service]:
    """Serve a full leaderboard by this commit."""
    service = Service(folder / "service")
    service.publish(write_benchmark(folder, "bench", ranking=RANKING).folder)
    with service.database.write() as session:
        factories.add_entries(session, catalog.find_version(session, "bench"), entries)
    with service:
        yield service


def rate(browser: httpx.Client, path: str) -> float:
    """Return the requests a second of one client that views a page again and again."""
    browser.get(path).raise_for_status()
    count, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < SECONDS:
        browser.get(path)
        count += 1
    return count / elapsed


def first_view(folder: Path, browser: httpx.Client, path: str, rounds: int = 5) -> float:
    """Return the seconds of the fastest view of a page directly after a change of the database, which is below `folder`."""
    (file,) = folder.rglob("ldsboard.sqlite3")
    times = []
    for _ in range(rounds):
        with closing(sqlite3.connect(file, timeout=30)) as database, database:
            database.execute("UPDATE submission SET description = ? WHERE rowid = 1", (f"changed at {perf_counter()}",))
        start = perf_counter()
        browser.get(path).raise_for_status()
        times.append(perf_counter() - start)
    return min(times)


def fastest(browser: httpx.Client, path: str, rounds: int = 5) -> float:
    """Return the seconds of the fastest of some views of a page."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        browser.get(path).raise_for_status()
        times.append(perf_counter() - start)
    return min(times)


def client(url: str) -> httpx.Client:
    """Return a browser without cookies."""
    return httpx.Client(base_url=url, headers={"Accept-Encoding": "gzip"}, trust_env=False, timeout=60)


def run(folder: Path, report: Report, entries: int) -> None:
    """Measure both commits, and this commit with many more entries."""
    report.section(f"Repeated views of {entries} entries, requests a second, now and by commit {EARLIER}")
    (folder / "earlier").mkdir()
    (folder / "now").mkdir()
    (folder / "many").mkdir()
    with (
        earlier_server(folder / "earlier", entries) as url,
        server(folder / "now", entries) as service,
        client(url) as earlier,
        client(service.url) as now,
    ):
        for name, path in PAGES.items():
            before, after = rate(earlier, path), rate(now, path)
            report.check(f"{name}: {after:.0f} now, {before:.1f} before", after / before, FACTOR, "x", at_least=True)
        for name, path in PAGES.items():
            pairs = [
                (first_view(folder / "earlier", earlier, path, 1), first_view(folder / "now", now, path, 1))
                for _ in range(40)  # in turn, because other work on the machine changes from second to second
            ]
            before, after = (min(times) for times in zip(*pairs, strict=True))
            report.check(f"{name}: first view after a change, ms", 1000 * after, 1000 * before, "ms")
    report.section(f"First and repeated views of {MANY_ENTRIES} entries, milliseconds")
    with server(folder / "many", MANY_ENTRIES) as service, client(service.url) as now:
        for name, path in PAGES.items():
            first, again = first_view(folder / "many", now, path, 2), fastest(now, path)
            report.line(name, f"{1000 * first:8.1f} first {1000 * again:8.2f} again")
