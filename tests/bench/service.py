"""Measure the time from the end of an upload to its result: ``python -m tests.bench.service``.

A server with a protected benchmark receives different score files over HTTP. For comparison, the library then scores the same
file in this process, from disk, with the same splits and threads. The file is in the page cache in both cases.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from app.db.models import Event
from ldsboard import GroundTruth
from ldsboard.core.parallel import usable_processors
from tests.app.benchmarks import write_benchmark
from tests.app.processes import fork_server
from tests.app.service import Service
from tests.processes import children

if TYPE_CHECKING:
    from collections.abc import Iterator

n, N, PUBLIC, RANKING = 5000, 2000, 200, 800
ROUNDS, CHUNK = 6, 2**20


@dataclass
class Upload:
    """Times of a submission's events, in seconds after the last byte of its file was sent."""

    arrived: float
    claimed: float
    scored: float
    answered: float
    seen: float


def body(content: bytes, ended: list[datetime]) -> Iterator[bytes]:
    """Yield the body of a request, and append the time of the end of the body to `ended`."""
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
    ended.append(datetime.now(UTC))


def upload(service: Service, token: str, content: bytes) -> Upload:
    """Send a file, and wait for its result by long polling."""
    ended: list[datetime] = []
    response = service.client.put(
        "/benchmarks/bench/submissions",
        params={"method": "ours"},
        content=body(content, ended),
        headers={"Authorization": f"Bearer {token}", "Content-Length": str(len(content))},
    )
    answered = datetime.now(UTC)
    submission_id = response.raise_for_status().json()["id"]
    view = service.wait_until_final(submission_id)
    seen = datetime.now(UTC)
    if view["state"] != "scored":
        raise RuntimeError(f"The submission was not scored: {view}")
    with service.database.read() as session:
        moves = dict(session.execute(select(Event.after, Event.at).where(Event.submission_id == submission_id)).all())
    moments = (moves["queued"], moves["scoring"], moves["scored"], answered, seen)
    return Upload(*((moment - ended[0]).total_seconds() for moment in moments))


def memory(pid: int) -> dict[str, float]:
    """Return the memory of a process in MiB: peak, anonymous, proportional set size, private, and shared."""
    text = (Path("/proc") / str(pid) / "status").read_text() + (Path("/proc") / str(pid) / "smaps_rollup").read_text()
    kib = {name: int(value) for name, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
    own = kib["Private_Clean"] + kib["Private_Dirty"]
    shared = kib["Shared_Clean"] + kib["Shared_Dirty"]
    found = {"peak": kib["VmHWM"], "anonymous": kib["RssAnon"], "Pss": kib["Pss"], "own": own, "shared": shared}
    return {name: value / 1024 for name, value in found.items()}


def watch(fork_server_pid: int, done: threading.Event) -> list[dict[str, float]]:
    """Sample the memory of the fork server's children every 20 ms until `done` is set."""
    samples = []
    while not done.wait(0.02):
        for pid in children(fork_server_pid):
            with suppress(OSError, KeyError):  # the child has ended meanwhile
                samples.append(memory(pid))
    return samples


def show_memory(service: Service, token: str, content: bytes) -> None:
    """Print the memory of the fork server, and of its child during an evaluation."""
    fork_server_pid, done, samples = fork_server(service.process.pid), threading.Event(), []
    watching = threading.Thread(target=lambda: samples.extend(watch(fork_server_pid, done)))
    watching.start()
    upload(service, token, content)
    done.set()
    watching.join()
    found = {"fork server": memory(fork_server_pid), "its child, maximum of each": {}}
    found["its child, maximum of each"] = {name: max(sample[name] for sample in samples) for name in samples[0]}
    print(f"  {'memory, MiB':30}" + "".join(f"{name:>11}" for name in samples[0]))
    for name, sizes in found.items():
        print(f"  {name:30}" + "".join(f"{size:11.0f}" for size in sizes.values()))


def show_times(uploads: list[Upload], alone: list[float]) -> None:
    """Print the seconds of the service and of the library, and the stages of the fastest upload."""
    best = min(uploads, key=lambda found: found.seen)
    print(f"  {'seconds':44} {'best':>6} {'median':>7} {'worst':>6}")
    for name, seconds in {
        "end of upload to scored, seen by a long poll": [found.seen for found in uploads],
        "the library, file on disk": alone,
    }.items():
        print(f"  {name:44} {min(seconds):6.3f} {np.median(seconds):7.3f} {max(seconds):6.3f}")
    parts = {
        "received, hashed, synchronised": best.arrived,
        "queued, committed, claimed": best.claimed - best.arrived,
        "scored and handed back": best.scored - best.claimed,
        "ranked, committed, seen": best.seen - best.scored,
    }
    print("  of the best: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in parts.items()))
    print(f"  (its 202 response arrived after {best.answered:.3f})")
    print(f"  the service takes {best.seen / min(alone):.2f} x the library's own time")


def main() -> None:
    """Run the benchmark and print its results."""
    rng = np.random.default_rng(1)
    with TemporaryDirectory() as folder:
        example = write_benchmark(Path(folder), "bench", n=n, N=N, public=PUBLIC, ranking=RANKING, noise=35.0)
        path = Path(folder) / "scores.npy"
        masks_Mn, margins_MRN, parts = example.bundle.scored_arrays()
        truth = GroundTruth(masks_Mn, margins_MRN)
        service = Service(Path(folder) / "service", ranked_per_day=1000, ranked_per_version=1000)
        service.publish(example.folder)
        uploads, alone = [], []
        with service:
            token = service.token("bench")
            for _ in range(ROUNDS + 1):
                np.save(path, rng.normal(size=(n, N)).astype(np.float32))
                uploads.append(upload(service, token, path.read_bytes()))
                start = perf_counter()
                truth.score(path, parts, threads=usable_processors())
                alone.append(perf_counter() - start)
            print(f"The service, M {PUBLIC + RANKING} x n {n} x N {N} float32, ranked, {ROUNDS} uploads after a first")
            show_times(uploads[1:], alone[1:])
            print(f"  the first after the start of the service: {uploads[0].seen:.3f} s")
            np.save(path, rng.normal(size=(n, N)).astype(np.float32))  # a file that is sent again is not scored again
            show_memory(service, token, path.read_bytes())


if __name__ == "__main__":
    main()
