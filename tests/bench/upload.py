"""Measure the upload of a 400 MB file over loopback: ``python -m tests.bench.upload``.

For comparison, the same file is sent to a bare uvicorn that discards the body, and written to the disk. Both servers are separate
processes and take turns. The service's time ends with its 202 response: the file is received, hashed, synchronised to disk and
its header checked, and the rows are committed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import httpx
import numpy as np

from tests.app.benchmarks import write_benchmark
from tests.app.ports import reserved_port
from tests.app.service import ROOT, Service, until

if TYPE_CHECKING:
    from collections.abc import Iterator

n, N = 5000, 20_000
ROUNDS, CHUNK = 5, 2**20
MEMORY = Path("/dev/shm")  # noqa: S108 -- a file system in memory on purpose

SINK = """
import sys
import uvicorn

async def sink(scope, receive, send):
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": b""})

uvicorn.run(sink, port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
"""


@contextmanager
def sink() -> Iterator[str]:
    """Run the bare uvicorn server, and yield its address."""
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}/"
        process = subprocess.Popen([sys.executable, "-c", SINK, str(port)], cwd=ROOT)
        try:
            until(lambda: _is_answering(url), "a bare server")
            yield url
        finally:
            process.terminate()
            process.wait()


def _is_answering(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def send(client: httpx.Client, url: str, content: memoryview, headers: dict[str, str]) -> float:
    """Send the file, and return the seconds until the response."""
    pieces = (bytes(content[start : start + CHUNK]) for start in range(0, len(content), CHUNK))
    began = perf_counter()
    client.put(url, content=pieces, headers=headers | {"Content-Length": str(len(content))}).raise_for_status()
    return perf_counter() - began


def peak(pid: int) -> float:
    """Return the peak memory of a process in MiB since the last reset through ``clear_refs``."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


def write(path: Path, content: memoryview) -> float:
    """Write the file and call fsync; return the seconds that this takes."""
    began = perf_counter()
    with path.open("wb") as file:
        for start in range(0, len(content), CHUNK):
            file.write(content[start : start + CHUNK])
        file.flush()
        os.fsync(file.fileno())
    return perf_counter() - began


def measure(folder: Path, bare: str) -> None:
    """Time uploads to a service with its data in `folder`, to the bare server, and writes to the disk; print the times."""
    example = write_benchmark(folder, "bench", n=n, N=N, public=20, ranking=100)
    path = folder / "scores.npy"
    np.save(path, np.random.default_rng(0).normal(size=(n, N)).astype(np.float32))
    content = memoryview(path.read_bytes())
    # Scoring starts after an upload has ended, so that no evaluation runs during a timed upload.
    with Service(folder / "service", scoring_processes=1) as service, httpx.Client(timeout=None) as client:  # noqa: S113 -- an upload may take long
        service.publish(example.folder)
        headers = {"Authorization": f"Bearer {service.token('bench')}"}
        address = f"{service.url}/api/v1/benchmarks/bench/submissions?kind=practice&method=m-"
        ours, theirs, disk, rises = [], [], [], []
        for turn in range(ROUNDS + 1):
            (Path("/proc") / str(service.process.pid) / "clear_refs").write_text("5")
            before = peak(service.process.pid)
            ours.append(send(client, f"{address}{turn}", content, headers))
            rises.append(peak(service.process.pid) - before)
            service.wait_until_idle()
            theirs.append(send(client, bare, content, {}))
            disk.append(write(path, content))
    print(f"  {'seconds':44} {'best':>6} {'median':>7} {'worst':>6}")
    rows = {
        "the service, until its 202": ours,
        "a bare uvicorn that discards the body": theirs,
        "writing the same bytes, with fsync": disk,
    }
    for name, seconds in rows.items():
        print(f"  {name:44} {min(seconds[1:]):6.3f} {np.median(seconds[1:]):7.3f} {max(seconds[1:]):6.3f}")
    ratio = min(ours[1:]) / min(theirs[1:])
    print(f"  the service takes {ratio:.2f} x the bare server's time; its memory rose by at most {max(rises):.0f} MiB")


def main() -> None:
    """Run the benchmark with the data on this disk and, if possible, in memory; print the results."""
    print(f"An upload of {n * N * 4 / 1e6:.0f} MB over loopback, {ROUNDS} after a first")
    places = {"data on this disk": None, "data in memory, without waiting for a disk": MEMORY}
    with sink() as bare:
        for place, parent in places.items():
            if parent is None or parent.exists():
                print(f" {place}:")
                with TemporaryDirectory(dir=parent) as folder:
                    measure(Path(folder), bare)


if __name__ == "__main__":
    main()
