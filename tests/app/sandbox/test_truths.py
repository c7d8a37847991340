"""The memory that ground truth takes in the fork server."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.app.benchmarks import write_benchmark
from tests.app.service import PATIENCE_SECONDS, ROOT

if TYPE_CHECKING:
    from pathlib import Path

M, n, N = 600, 2000, 500

LOAD = """
import re, sys
from pathlib import Path
from app.scoring.sandbox.truths import load_ground_truth, preload_imports

def anonymous():
    return 1024 * int(re.findall(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[0])

preload_imports()
before = anonymous()
load_ground_truth(sys.argv[1])
print(anonymous() - before)
"""


def test_fork_server_keeps_only_the_ground_truth(tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, n=n, N=N, public=100, ranking=M - 100)
    command = [sys.executable, "-c", LOAD, str(example.folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=True)
    assert int(done.stdout) < M * (n / 4 + (16 + 4 * example.bundle.margins_MRN.shape[1]) * N) + 2**22
