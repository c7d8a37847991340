"""Time and memory of M 10,000 x n 50,000: ``python -m tests.bench.large [N]``. N is 2,000 without an argument; 10,000 takes 2 GB.

Memory is anonymous memory above that of the loaded margins, after each step and at most during it. Masks and scores are mapped
from files.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ldsboard import GroundTruth, lds, show_config

if TYPE_CHECKING:
    from collections.abc import Callable

M, n = 10_000, 50_000
WRITTEN_ROWS = 1000


def anonymous() -> float:
    """Return the anonymous memory of this process in MiB."""
    return int(re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1024


def write_files(folder: Path, N: int) -> None:
    """Write random masks, margins and scores, some rows at a time."""
    rng = np.random.default_rng(0)
    np.save(folder / "masks.npy", rng.integers(256, size=(M, n // 8), dtype=np.uint8))
    np.save(folder / "margins.npy", rng.standard_normal((M, N), dtype=np.float32))
    scores_nN = np.lib.format.open_memmap(folder / "scores.npy", "w+", np.float32, (n, N))
    for row in range(0, n, WRITTEN_ROWS):
        scores_nN[row : row + WRITTEN_ROWS] = rng.standard_normal((WRITTEN_ROWS, N), dtype=np.float32)
    scores_nN.flush()


def main() -> None:
    """Run the benchmark and print its results."""
    N = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    show_config()
    rng = np.random.default_rng(0)
    lds(rng.random((80, 3)), rng.random((70, 80)) < 0.5, rng.random((70, 3)))
    with TemporaryDirectory() as folder:
        write_files(Path(folder), N)
        margins_MN = np.load(Path(folder) / "margins.npy")
        before, peak, ended = anonymous(), [0.0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                peak[0] = max(peak[0], anonymous())

        threading.Thread(target=watch, daemon=True).start()
        print(f"M {M} x n {n} x N {N:<21} wall s   processor s   MiB held   peak MiB")
        splits = {"public": slice(0, M // 5), "ranking": slice(M // 5, None)}
        truths: list[GroundTruth] = []
        masks = np.load(Path(folder) / "masks.npy", mmap_mode="r")
        steps: dict[str, Callable[[], object]] = {
            "build": lambda: truths.append(GroundTruth(masks, margins_MN, n_train=n, packed=True)),
            "rank the margins of both parts": lambda: truths[0].rank(splits),
            "score both parts": lambda: truths[0].score(Path(folder) / "scores.npy", splits),
        }
        total = np.zeros(2)
        for name, work in steps.items():
            peak[0] = anonymous()
            started = np.array((time.perf_counter(), time.process_time()))
            work()
            spent = np.array((time.perf_counter(), time.process_time())) - started
            total += spent
            print(f"  {name:34} {spent[0]:9.2f} {spent[1]:13.2f} {anonymous() - before:10.0f} {peak[0] - before:10.0f}")
        print(f"  {'together':34} {total[0]:9.2f} {total[1]:13.2f}")
        ended.set()


if __name__ == "__main__":
    main()
