"""Compare the time of scoring with other implementations, in one run on one machine: ``python -m tests.bench.scoring``.

ldsboard computes everything in `Result` for both splits, from an array in memory. It is compared with:

- ldsboard with BLAS in place of the compiled kernel, and ldsboard of an earlier commit, in processes of their own;
- the bare float64 product of masks and scores, without ranks;
- the product and per-target loop of the notebook that this project started from;
- the functions of published libraries, which compute only the per-target correlations over all subsets.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr

from ldsboard import GroundTruth, show_config
from ldsboard.core.kernel import ROUTE_VARIABLE
from tests.bench.problems import n, problem
from tests.bench.timing import Timing, take_turns
from tests.references.answers import Case, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N = 2000
ROOT = Path(__file__).resolve().parents[2]
EARLIER = "3486f9a"
"""The last commit that was tuned without the compiled kernel."""
LOOP_TARGETS, LIBRARY_TARGETS = 200, 100
LIBRARY_ROUNDS = 3


def notebook(case: Case, rounds: int) -> Timing:
    """Return the time of the notebook's product plus its loop, timed on LOOP_TARGETS targets and scaled to all N."""
    masks_Mn = case.masks.astype(np.float32)
    predictions_MN = masks_Mn @ case.scores[:, :LOOP_TARGETS]

    def loop() -> None:
        for j in range(LOOP_TARGETS):
            spearmanr(predictions_MN[:, j], case.margins[:, j])

    times = take_turns({"product": lambda: masks_Mn @ case.scores, "loop": loop}, rounds)
    return times["product"] + times["loop"].scaled(N / LOOP_TARGETS)


BESIDE = """
import sys, time
from ldsboard import GroundTruth
sys.path.append(sys.argv[1])
from tests.bench.problems import problem
M, targets = int(sys.argv[2]), int(sys.argv[3])
case = problem(M, targets)
truth, splits = GroundTruth(case.masks, case.margins), {"public": slice(0, M // 5), "ranking": slice(M // 5, None)}
for _ in sys.stdin:
    spent = time.process_time()
    truth.score(case.scores, splits=splits)
    print(time.process_time() - spent, flush=True)
"""


@contextmanager
def beside(package: Path, M: int, targets: int, **environment: str) -> Iterator[Callable[[], float]]:
    """Yield a function that scores once with the ldsboard in a folder, in another process, and returns the processor time."""
    command = [sys.executable, "-c", BESIDE, str(ROOT), str(M), str(targets)]
    inherited = os.environ | {"PYTHONPATH": str(package)} | environment
    with subprocess.Popen(
        command, cwd=package, env=inherited, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sending, answers = process.stdin, process.stdout

        def score() -> float:
            sending.write("score\n")
            sending.flush()
            return float(answers.readline())

        yield score
        sending.close()


def scoring(M: int, targets: int, rounds: int, earlier: Path) -> dict[str, Timing]:
    """Time every implementation except the notebook and the libraries, for M subsets."""
    case = problem(M, targets)
    truth, splits = GroundTruth(case.masks, case.margins), {"public": slice(0, M // 5), "ranking": slice(M // 5, None)}
    weights_Mn, doubles_nN = case.masks.astype(np.float64), case.scores.astype(np.float64)
    with (
        beside(ROOT, M, targets, **{ROUTE_VARIABLE: "blas"}) as with_blas,
        beside(earlier, M, targets) as before,
    ):
        ways: dict[str, Callable[[], object]] = {
            "ldsboard, everything": lambda: truth.score(case.scores, splits=splits),
            "ldsboard with BLAS": with_blas,
            f"ldsboard of commit {EARLIER}": before,
            "bare float64 product": lambda: weights_Mn @ doubles_nN,
        }
        return take_turns(ways, rounds)


def libraries(M: int, targets: int) -> dict[str, Timing]:
    """Time the libraries on some targets, scaled to all N, with one thread; more threads made them no faster."""
    case = problem(M, targets)
    rounds = [ask({"bench": case}, "dattri", "quanda")["bench"] for _ in range(LIBRARY_ROUNDS)]
    return {
        f"{name} {answer.version}, {targets} targets": Timing.median(
            Timing(answers[name].wall, answers[name].cpu) for answers in rounds
        ).scaled(N / targets)
        for name, answer in rounds[0].items()
    }


def show(title: str, times: dict[str, Timing]) -> None:
    """Print a table of times and of their ratios to the time of ldsboard, and the ratio of ldsboard to the bare product."""
    ours = times["ldsboard, everything"]
    print(f"{title}\n  {'':28}    wall s     cpu s   x the wall time of ldsboard")
    for name, time in times.items():
        print(f"  {name:28} {time.wall:9.3f} {time.cpu:9.3f} {time.wall / ours.wall:9.2f}")
    bare = times["bare float64 product"]
    print(
        f"  ldsboard takes {ours.wall / bare.wall:.2f} x the bare product, in processor time {ours.cpu / bare.cpu:.2f} x"
    )


PEAK = """
import re, sys
from pathlib import Path
import numpy as np
from ldsboard import GroundTruth

def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

M, n, N = 1000, 5000, int(sys.argv[2])
rng = np.random.default_rng(0)
truth = GroundTruth(rng.random((M, n)) < 0.5, rng.normal(size=(M, N)).astype(np.float32))
splits = {"public": slice(0, 200), "ranking": slice(200, None)}
truth.rank(splits)
scores = np.load(sys.argv[1], mmap_mode="r")
Path("/proc/self/clear_refs").write_text("5")
before, mapped = status("VmRSS"), status("RssFile")
truth.score(scores, splits=splits)
print(status("VmHWM") - before - (status("RssFile") - mapped))
"""

IMPORT = "import time, numpy; t = time.perf_counter(); import ldsboard; ldsboard.lds; print(time.perf_counter() - t)"


def run_in_subprocess(program: str, *arguments: str) -> float:
    """Run a program in a subprocess and return the number that it prints."""
    ended = subprocess.run([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, check=True)
    return float(ended.stdout)


def main() -> None:
    """Run the benchmark and print its results."""
    show_config()
    found = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    print(f"Vector instructions of this processor beyond the baseline: {', '.join(found) or 'none'}")
    with TemporaryDirectory() as folder:
        command = f"git archive {EARLIER} ldsboard | tar --extract --directory '{folder}'"
        subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, check=True)
        for M, targets, rounds in ((100, 256, 20), (1000, N, 15), (10_000, N, 5)):
            times = scoring(M, targets, rounds, Path(folder))
            if targets == N:
                times["notebook"] = notebook(problem(M, N), rounds)
            if M == 1000:
                times |= libraries(M, N) | libraries(M, LIBRARY_TARGETS)
            loop = f" (loop timed on {LOOP_TARGETS} targets, scaled)" if targets == N else ""
            show(f"Scoring, M {M} x n {n} x N {targets}, both parts{loop}", times)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scores.npy"
        for targets in (N, 5 * N):
            np.save(path, problem(2, targets).scores)
            peak = run_in_subprocess(PEAK, str(path), str(targets))
            print(f"Peak memory above ground truth and mapped file, M 1000 x n {n} x N {targets}: {peak:.0f} MiB")
    seconds = median(run_in_subprocess(IMPORT) for _ in range(5))
    print(f"Import of ldsboard and of what lds needs, above numpy's, median of 5: {seconds:.3f} s")


if __name__ == "__main__":
    main()
