"""Measure how much the scaled topology carries on this machine: ``python -m tests.load`` prints tables.

Two servers, PostgreSQL, an S3-compatible store (OpenStack Swift) and one worker, then two, run on the loopback interface, beside
the clients. Four clients send files as the command line does, one after another, while another client reads the leaderboard. With
one worker, a single client does so, too, so that the worker scores while hardly anything else runs. With two workers, 50 users
send 500 small files at once.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.counts import count
from tests.app.benchmarks import write_benchmark
from tests.load.clients import BENCHMARK, BURST_BENCHMARK, distinct, reading, send_and_wait, send_burst, waits
from tests.load.topology import Topology
from tests.scaled_topology import SERVERS
from tests.siege.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

n, N, PUBLIC, RANKING = 5000, 1000, 200, 800
FILES, CLIENTS, SINGLE_FILES = 80, 4, 24
BURST = (
    {"user-of-100": 100}
    | {f"user-of-1-{number}": 1 for number in range(10)}
    | {f"user-of-10-{number}": 10 for number in range(39)}
)
BURST_TARGETS, SENDERS = 50, 8
LEAST_SHARE = 0.7
"""Least share of the workers' processor seconds that the library takes for the same files."""

LIBRARY = """
import sys, time
from pathlib import Path
from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from ldsboard.core.parallel import usable_processors
masks_Mn, margins_MRN, parts = Bundle.open(Path(sys.argv[1])).scored_arrays()
truth = GroundTruth(masks_Mn, margins_MRN)
truth.rank(parts)
began = time.process_time()
for path in sys.argv[2:]:
    truth.score(path, parts, threads=usable_processors())
print(time.process_time() - began)
"""


@dataclass
class Sustained:
    """Seconds of a phase, of the waits for results and of the reads of the leaderboard; processor seconds of each process."""

    seconds: float
    waits: Sequence[float]
    reads: Sequence[float]
    processors: dict[str, float]

    @property
    def worker_seconds(self) -> float:
        """Processor seconds of all workers."""
        return sum(seconds for name, seconds in self.processors.items() if name.startswith("worker"))


def sustain(topology: Topology, files: Sequence[Path], clients: int) -> Sustained:
    """Send all files while the leaderboard is read."""
    with used_by_each(topology) as used, reading(topology.services) as reads:
        seconds = send_and_wait(topology.services, files, clients)
    found = waits(topology.services[0], [path.stem for path in files])
    waited = [wait for each in found.values() for wait in each]
    return Sustained(seconds, waited, reads, used)


@contextmanager
def used_by_each(topology: Topology) -> Iterator[dict[str, float]]:
    """Yield a dictionary that holds, after the ``with`` block, the processor seconds of each process in the block."""
    used: dict[str, float] = {}
    before = topology.processor_seconds() | {"clients": own_seconds()}
    yield used
    after = topology.processor_seconds() | {"clients": own_seconds()}
    used |= {name: after[name] - before[name] for name in after}


def own_seconds() -> float:
    """Return the processor seconds of this process."""
    return sum(os.times()[:2])


def show_processors(report: Report, used: dict[str, float], files: int) -> None:
    """Print the processor seconds of each process."""
    for name, seconds in used.items():
        report.line(f"processor seconds of {name}", f"{seconds:10.2f}   {1000 * seconds / files:6.0f} ms a file")


def show(report: Report, workers: int, found: Sustained, files: int, clients: int) -> None:
    """Print what a phase has shown."""
    by = f"{count(workers, 'worker')}: {files} files of {n} x {N} float32 by {count(clients, 'client')}"
    report.section(f"{by}, M {PUBLIC + RANKING}")
    report.line("submissions per second", f"{files / found.seconds:10.2f}")
    report.line("from complete to scored, median and 95 %", quantiles(found.waits))
    report.line("leaderboard reads per second", f"{len(found.reads) / found.seconds:10.1f}")
    report.line("a read of the leaderboard, median and 95 %", quantiles(found.reads))
    show_processors(report, found.processors, files)


def quantiles(seconds: Sequence[float]) -> str:
    """Return the median and the 95 % quantile as text."""
    median, high = np.quantile(seconds, [0.5, 0.95])
    return f"{median:10.3f}   {high:.3f} s"


def show_burst(report: Report, topology: Topology) -> None:
    """Send a burst of small files of many users, and print how long each kind of user waits."""
    example_scores = np.random.default_rng(2).normal(size=(n, BURST_TARGETS)).astype(np.float32)
    with used_by_each(topology) as used:
        seconds = send_burst(topology.services, example_scores, BURST, SENDERS)
    total = sum(BURST.values())
    found = waits(topology.services[0], [f"burst-{number}" for number in range(total)])
    report.section(
        f"A burst: {total} files of {n} x {BURST_TARGETS} by {len(BURST)} users, first all of the user with 100"
    )
    report.line("until all are scored", f"{seconds:10.1f} s   {total / seconds:.1f} a second")
    for kind in ("user-of-1-", "user-of-10-", "user-of-100"):
        of_kind = [wait for user, each in found.items() if user.startswith(kind) for wait in each]
        report.line(f"wait of a {kind.rstrip('-')}, median and 95 %", quantiles(of_kind))
    show_processors(report, used, total)


def library_seconds(benchmark: Path, files: Sequence[Path]) -> float:
    """Return the processor seconds in which the library scores files by itself."""
    command = [sys.executable, "-c", LIBRARY, str(benchmark), *map(str, files)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def show_share(report: Report, benchmark: Path, files: Sequence[Path], found: Sustained) -> None:
    """Print the processor seconds of the library for the same files, at once because the machine changes its speed."""
    seconds = library_seconds(benchmark, files)
    show_processors(report, {"the library by itself": seconds}, len(files))
    report.check("share of the library", seconds / found.worker_seconds, LEAST_SHARE, "", at_least=True)


def main() -> None:
    """Run all phases, and print their tables."""
    report, rng = Report(), np.random.default_rng(1)
    with TemporaryDirectory() as folder:
        os.environ["LDSBOARD_CACHE"] = folder
        example = write_benchmark(Path(folder), BENCHMARK, n=n, N=N, public=PUBLIC, ranking=RANKING, noise=35.0)
        small = write_benchmark(
            Path(folder) / "small", BURST_BENCHMARK, n=n, N=BURST_TARGETS, public=PUBLIC, ranking=RANKING, noise=35.0
        )
        scores_nN = rng.normal(size=(n, N)).astype(np.float32)
        files = [Path(folder) / f"file-{number}.npy" for number in range(FILES + SINGLE_FILES)]
        for number, path in enumerate(files):
            np.save(path, distinct(scores_nN, number))
        phases: dict[int, Sustained] = {}
        for workers in (1, 2):
            place = Path(folder) / f"with-{workers}"
            place.mkdir()
            with Topology(place, workers) as topology:
                topology.services[0].publish(example.folder)
                topology.services[0].publish(small.folder)
                topology.start_workers()
                started = topology.worker_seconds()
                phases[workers] = sustain(topology, files[:FILES], CLIENTS)
                show(report, workers, phases[workers], FILES, CLIENTS)
                report.line("processor seconds of the workers until they were ready", f"{started:10.2f}")
                show_share(report, example.folder, files[:FILES], phases[workers])
                if workers == 1:
                    found = sustain(topology, files[FILES:], 1)
                    show(report, workers, found, SINGLE_FILES, 1)
                    show_share(report, example.folder, files[FILES:], found)
                else:
                    show_burst(report, topology)
    report.section(f"Compared, with {SERVERS} servers")
    report.line("2 workers / 1 worker, submissions per second", f"{phases[1].seconds / phases[2].seconds:10.2f}")
    sys.exit(not report.holds)


if __name__ == "__main__":
    main()
