"""Measure the response time and the transferred bytes of a full leaderboard: ``python -m tests.bench.pages``.

A client requests pages from a server on this machine, one after another. The board has 500 entries, written directly into the
database. The time is from the request to the last byte of the response; the table also shows the server's processor time.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import httpx
import numpy as np

from app.benchmarks import catalog
from app.pages import static_files
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable

ENTRIES, RANKING = 500, 800
WARM, ROUNDS = 20, 200
TICKS = os.sysconf("SC_CLK_TCK")
PAGES = {
    "a leaderboard": "/benchmarks/bench",
    "sorted by cost": "/benchmarks/bench?sort=cost",
    "searched": "/benchmarks/bench?q=trak+lab-01",
    "one tag, the second page": "/benchmarks/bench?tag=kernel&after=50",
    "home": "/",
}
FIRST_VIEW = ("style.css", "vendor/htmx/htmx.min.js", "copy.js", "icon.svg")
CHARTS = ("vendor/d3/d3.min.js", "vendor/plot/plot.umd.min.js", "charts.js", "charts/forest.js", "charts/pareto.js")


def processor_ms(pid: int) -> float:
    """Return the processor time of a process in milliseconds."""
    fields = (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / TICKS


def measure(service: Service, browser: httpx.Client, path: str) -> tuple[list[float], float]:
    """Return the milliseconds of every response, and the mean processor milliseconds of the server for one response."""
    for _ in range(WARM):
        browser.get(path).raise_for_status()
    before, times = processor_ms(service.process.pid), []
    for _ in range(ROUNDS):
        start = perf_counter()
        browser.get(path)
        times.append(1000 * (perf_counter() - start))
    return times, (processor_ms(service.process.pid) - before) / ROUNDS


def response_sizes(browser: httpx.Client, path: str) -> tuple[int, int]:
    """Return the number of bytes of a response, uncompressed and as transferred."""
    with browser.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as response:
        body = b"".join(response.iter_raw())
    packed = response.headers.get("content-encoding") == "gzip"
    return len(gzip.decompress(body) if packed else body), len(body)


def show(name: str, sizes: Iterable[tuple[int, int]]) -> None:
    """Print the sum of uncompressed sizes and the sum of compressed sizes, in kB."""
    whole, packed = (sum(side) for side in zip(*sizes, strict=True))
    print(f"  {name:34}{whole / 1000:9.1f}{packed / 1000:9.1f}")


def main() -> None:
    """Run the benchmark and print its results."""
    with TemporaryDirectory() as folder:
        example = write_benchmark(Path(folder), "bench", ranking=RANKING)
        service = Service(Path(folder) / "service")
        service.publish(example.folder)
        with service.database.write() as session:
            factories.add_entries(session, catalog.find_version(session, "bench"), ENTRIES)
        headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
        with service, httpx.Client(base_url=service.url, headers=headers, trust_env=False) as browser:
            print(f"A board of {ENTRIES} entries, {ROUNDS} requests after {WARM}, compressed")
            print(f"  {'milliseconds':34}{'p50':>9}{'p95':>9}{'processor':>12}")
            for name, path in PAGES.items():
                times, processor = measure(service, browser, path)
                p50, p95 = np.percentile(times, [50, 95])
                print(f"  {name:34}{p50:9.1f}{p95:9.1f}{processor:12.1f}")
            page = response_sizes(browser, PAGES["a leaderboard"])
            files = {file: response_sizes(browser, static_files.url(file)) for file in (*FIRST_VIEW, *CHARTS)}
            print(f"  {'kB':34}{'whole':>9}{'gzip':>9}")
            show("the page with 50 entries", [page])
            for file, size in files.items():
                show(file, [size])
            show("first view, without charts", [page, *(files[file] for file in FIRST_VIEW)])
            show("with charts", [page, *files.values()])


if __name__ == "__main__":
    main()
