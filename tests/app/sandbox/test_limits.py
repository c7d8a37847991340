"""Resource limits of scoring processes, and the errors when a process exceeds them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from psutil import Process

from app.errors import SandboxError
from app.scoring.sandbox import limits
from ldsboard import ProblemError
from tests.app.benchmarks import Example, write_benchmark
from tests.app.sandbox.processes import PARTS, HangingScoring, pid_of, results_match
from tests.app.service import PATIENCE_SECONDS, ROOT, npy, until
from tests.ldsboard.files import npz_bytes, safetensors_bytes
from tests.processes import alive

if TYPE_CHECKING:
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox


def _limit(pid: int, kind: int) -> int:
    """Return a soft limit of a process."""
    return resource.prlimit(pid, kind)[0]


def test_scoring_process_has_limits_and_the_fork_server_has_none(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    limited, unlimited = stuck.child, pid_of(sandbox)
    assert _limit(limited, resource.RLIMIT_CORE) == 0
    assert _limit(limited, resource.RLIMIT_NOFILE) == limits.OPEN_FILES
    assert limits.WRITTEN_BYTES <= _limit(limited, resource.RLIMIT_FSIZE) < 2**40
    assert limits.EXTRA_PROCESSES < _limit(limited, resource.RLIMIT_NPROC) < limits.EXTRA_PROCESSES + 100_000
    assert _limit(unlimited, resource.RLIMIT_FSIZE) == resource.RLIM_INFINITY
    assert _limit(unlimited, resource.RLIMIT_NOFILE) > limits.OPEN_FILES
    stuck.release()


PROGRAM = """
import mmap, os, tempfile
import numpy as np
from app.scoring.sandbox import limits
from ldsboard import ProblemError

silent, end = os.pipe()

def fork():
    if os.fork() == 0:
        os.close(end)
        os.read(silent, 1)
        os._exit(0)

limits.CPU_SECONDS = limits.PRODUCTS_PER_SECOND = 1
if os.getuid() == 0:
    os.setuid(65534)  # root may have any number of processes
limits.EXTRA_PROCESSES = 3
limits.limit_process()
limits.limit_work(M=0, n=100, N=100, data_bytes=80_000, threads=1)
"""
DEEDS = {
    "memory": ("np.ones(10**9)", "MemoryError"),
    "mapped memory": ("mmap.mmap(-1, 2**33)", "[Errno 12]"),
    "files": ("[open('/dev/null') for _ in range(40)]", "[Errno 24]"),
    "a long file": ("tempfile.TemporaryFile(buffering=0).truncate(2**40)", "[Errno 27]"),
    "processes": ("[fork() for _ in range(100)]", "[Errno 11]"),
    "processor time": ("while True: pass", ""),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_kernel_enforces_the_limits(deed: str, tmp_path: Path) -> None:
    code, error = DEEDS[deed]
    command = [sys.executable, "-c", PROGRAM + code]
    with (tmp_path / "log").open("wb") as log:
        ended = subprocess.run(command, cwd=ROOT, stderr=log, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == (1 if error else -signal.SIGXCPU)
    assert error in (tmp_path / "log").read_text()


def test_limits_allow_normal_scoring(sandbox: Sandbox, tmp_path: Path) -> None:
    large = write_benchmark(tmp_path, n=2000, N=200)
    for name, content in {
        "npy": npy(large.scores()),
        "safetensors": safetensors_bytes(large.scores()),
        "npz": npz_bytes(large.scores()),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert results_match(sandbox.score(large.folder, tmp_path / name, PARTS), large)


MANY_SUBSETS = """
import numpy as np
from app.scoring.sandbox import limits
from ldsboard import GroundTruth

def problem(M, n, N):
    rng = np.random.default_rng(0)
    return GroundTruth(rng.random((M, n)) < 0.5, rng.standard_normal((M, N))), rng.standard_normal((n, N))

truth, scores = problem(100, 16, 1000)
truth.score(scores, threads=1)  # loads modules and reserves the memory of the BLAS
truth, scores = problem(4000, 16, 4000)
truth.rank()
limits.SCORING_BYTES = limits.THREAD_BYTES = 2**25
limits.limit_work(M=4000, n=16, N=4000, data_bytes=scores.nbytes, threads=1)
truth.score(scores, threads=1)
"""


LIMITS = """
import resource, sys
from app.scoring.sandbox import limits
M, n, N = map(int, sys.argv[1:])
before = limits._address_space()
limits.limit_work(M=M, n=n, N=N, data_bytes=4 * n * N, threads=2)
print(resource.getrlimit(resource.RLIMIT_CPU)[0], resource.getrlimit(resource.RLIMIT_AS)[0] - before)
"""


@pytest.mark.parametrize(
    ("shape", "seconds", "mebibytes"),
    [
        ((100, 5000, 256), 61, 779),
        ((10_000, 50_000, 10_000), 60 + 5000 + 100 + 100, 5356),
        ((20_000, 50, 20_000), 60 + 20 + 400 + 800, 3837),
        ((100, 10_000_000, 8), 69, 2294),
    ],
)
def test_limits_follow_from_the_shape(shape: tuple[int, int, int], seconds: int, mebibytes: int) -> None:
    command = [sys.executable, "-c", LIMITS, *map(str, shape)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    cpu, space = map(int, done.stdout.split())
    assert cpu == seconds
    assert space / 2**20 == pytest.approx(mebibytes, abs=1)


def test_limit_of_memory_grows_with_subsets_and_targets() -> None:
    subprocess.run([sys.executable, "-c", MANY_SUBSETS], cwd=ROOT, timeout=PATIENCE_SECONDS, check=True)


def test_archive_of_the_wrong_shape_is_not_inflated(sandbox: Sandbox, toy: Example, tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    path.write_bytes(npz_bytes(toy.scores()[1:], listed={"crc": 7}))
    with pytest.raises(ProblemError) as raised:
        sandbox.score(toy.folder, path, PARTS)
    assert raised.value.problem.code == "scores.shape"  # although its checksum is wrong too


def test_scoring_process_without_memory_reports_it_and_affects_no_other(
    sandbox: Sandbox, toy: Example, tmp_path: Path
) -> None:
    large = write_benchmark(tmp_path, n=2000, N=1000)
    path = tmp_path / "scores.npy"
    np.save(path, large.scores().astype(np.float64))
    sandbox.score(large.folder, path, PARTS)
    room = Process(pid_of(sandbox)).memory_info().vms + 2**22  # 4 MiB more; the scoring process needs 16 MiB
    resource.prlimit(pid_of(sandbox), resource.RLIMIT_AS, (room, room))
    with pytest.raises(SandboxError, match=r"ended without an answer \(out of memory\)"):
        sandbox.score(large.folder, path, PARTS)
    np.save(path, toy.scores())
    assert results_match(sandbox.score(toy.folder, path, PARTS), toy)


def test_scoring_process_that_exceeds_cpu_time_is_reported(sandbox: Sandbox, toy: Example, scores: Path) -> None:
    stuck = HangingScoring(sandbox, toy.folder, scores.with_name("stuck"))
    os.kill(stuck.child, signal.SIGXCPU)
    until(lambda: not alive(stuck.child), "the end of the scoring process")
    assert str(stuck.release()) == "The scoring process ended without an answer (CPU time limit exceeded)."
    assert results_match(sandbox.score(toy.folder, scores, PARTS), toy)
