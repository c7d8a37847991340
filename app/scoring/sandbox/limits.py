"""Resource limits of a scoring process, enforced by the kernel.

Each scoring process is a forked child that scores one file and sets the limits for itself. The usage of earlier files therefore
does not count. Hard limits that the operator has set are never raised.

A file's shape and size are checked against the benchmark before the file's data is read. No accepted file therefore needs more
than the limits allow. A process that reaches a limit is treated as a server error, not as a fault of the file: the evaluation is
retried.
"""

from __future__ import annotations

import math
import os
import resource
import stat
import sys
from contextlib import suppress
from pathlib import Path

OUT_OF_MEMORY = 12
"""Exit status of a scoring process that could not allocate memory."""

OPEN_FILES = 32
"""Maximum number of open descriptors: the standard streams, the socket to the service, the score file and its mapping, and a few
that libraries open briefly."""

WRITTEN_BYTES = 2**24
"""Maximum number of bytes that a scoring process can append to the log, the only file that the process writes."""

EXTRA_PROCESSES = 1024
"""Number of processes and threads that can be started in addition to those that the operating system's user already has.

The kernel counts all processes and threads of the user, other servers included, and does not limit root. The limit stops a fork
bomb. The limit is far above the needs of scoring, because scoring fails when other processes of the user use up the limit."""

SCORING_BYTES = 2**28
"""Bytes of address space for blocks of targets, in addition to the file. They used 70 MiB in a measurement."""

THREAD_BYTES = 2**28
"""Bytes of address space for one thread: the stack, and the reservations of malloc and the BLAS. A thread used 100 MiB in a
measurement."""

BLOCK_BYTES = 8 * 12
"""Bytes of memory of the smallest block, for each training example: 8 targets as float32 and float64. Larger blocks fit in the
`SCORING_BYTES`."""

CHANCE_BYTES = 8
"""Bytes of memory for the matrices of `ldsboard.core.chance.ChanceSpread`, for each of M min(M, N) elements: two float32."""

RESULT_BYTES = 2**8
"""Bytes of memory for the result and the answer, for each subset and for each target."""

CPU_SECONDS, PRODUCTS_PER_SECOND, RANKS_PER_SECOND, CHANCE_PER_SECOND = 60, 10**9, 10**6, 10**10
"""Constants of the CPU time limit in seconds: CPU_SECONDS + M N (n / PRODUCTS_PER_SECOND + 1 / RANKS_PER_SECOND +
min(M, N) / CHANCE_PER_SECOND).

M is the number of subsets, n of training examples, N of targets. One core computed at least 35e9 products a second with the
compiled kernel, and 7e9 with BLAS; 10e6 ranks with what follows from them; and 30e9 products for the distance from chance."""


def limit_process() -> None:
    """Set the limits that do not depend on the file: open files, written bytes, processes.

    Core dumps are disabled, because they would contain hidden margins.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, _largest_log_bytes() + WRITTEN_BYTES)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_NPROC, _tasks_of_user() + EXTRA_PROCESSES)


def limit_work(M: int, n: int, N: int, data_bytes: int, threads: int) -> None:
    """Limit the CPU time and, on Linux, the address space of this process to what scoring one file needs.

    The limit of the address space includes the memory that the process already maps, such as the shared ground truth, and twice
    `data_bytes`: once for the mapped file, and once for the decompressed or copied scores.

    Parameters
    ----------
    M, n, N
        Number of subsets, training examples and targets.
    data_bytes
        Size of the file's (n, N) scores in bytes, without compression.
    threads
        Number of threads that score the file.
    """
    # The kernel sends SIGXCPU at the soft limit, and kills the process at the hard limit.
    seconds = M * N * (n / PRODUCTS_PER_SECOND + 1 / RANKS_PER_SECOND + min(M, N) / CHANCE_PER_SECOND)
    _lower(resource.RLIMIT_CPU, CPU_SECONDS + math.ceil(seconds), hard_margin=1)
    if sys.platform == "linux":
        needed = 2 * data_bytes + SCORING_BYTES + threads * THREAD_BYTES
        needed += n * BLOCK_BYTES + M * min(M, N) * CHANCE_BYTES + (M + N) * RESULT_BYTES
        _lower(resource.RLIMIT_AS, _address_space() + needed)


def _lower(kind: int, soft: int, hard_margin: int = 0) -> None:
    _, current_hard = resource.getrlimit(kind)
    hard = soft + hard_margin if current_hard == resource.RLIM_INFINITY else min(soft + hard_margin, current_hard)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _largest_log_bytes() -> int:
    """Return the size in bytes of the larger file to which standard output and standard error go; 0 if neither is a file."""
    streams = [os.fstat(descriptor) for descriptor in (1, 2)]
    return max((stream.st_size for stream in streams if stat.S_ISREG(stream.st_mode)), default=0)


def _tasks_of_user() -> int:
    """Return how many threads run under the user id of this process, in all processes that /proc shows."""
    tasks = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # the process ended meanwhile
            if process.name.isdigit() and process.stat().st_uid == os.getuid():
                tasks += len(list((process / "task").iterdir()))
    return tasks


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
