"""Resource limits of a scoring process, enforced by the kernel.

The limits are set in the forked child, so they hold for one file, and usage does not add up over files. Hard limits that the
operator has set are kept. A file's shape and size are checked against the benchmark before its data is read, so that no accepted
file needs more than the limits allow: a process that reaches a limit is a server error and is retried, not a fault of the file.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
from contextlib import suppress
from pathlib import Path

OUT_OF_MEMORY = 12
"""Exit status of a scoring process that could not allocate memory."""

OPEN_FILES = 32
"""Descriptors: standard streams, socket to the service, score file and its mapping, and a few that libraries open briefly."""

WRITTEN_BYTES = 2**24
"""How much a scoring process may append to the log, the only file that it writes."""

EXTRA_PROCESSES = 1024
"""Processes and threads that may be started beyond those that the user already has.

The kernel counts all processes and threads of the user, other servers included, and does not limit root. The bound stops a fork
bomb; it is far above the needs of scoring, because scoring fails when other processes of the user use it up."""

SCORING_BYTES = 2**28
"""Address space that scoring needs beside the file; 70 MiB were measured."""

THREAD_BYTES = 2**28
"""Address space of one thread: its stack, and the reservations of malloc and the BLAS; 100 MiB were measured."""

RESULT_BYTES = 2**8
"""Memory of the result and the answer, per subset and per target."""

CPU_SECONDS, PRODUCTS_PER_SECOND = 60, 10**8
"""CPU time limit: a constant, plus time for all products at this rate. A current processor does 7e9 a second, with ranking."""


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
    """Limit memory and CPU time to the needs of scoring ``data_bytes`` of an (n, N) file against M subsets.

    The address space limit includes the memory that the process already maps (the shared ground truth too), and twice the size of
    the file: once mapped, once decompressed or copied.
    """
    # The kernel sends SIGXCPU at the soft limit, and kills the process at the hard limit.
    _lower(resource.RLIMIT_CPU, CPU_SECONDS + M * n * N // PRODUCTS_PER_SECOND, hard_margin=1)
    if sys.platform == "linux":
        needed = 2 * data_bytes + SCORING_BYTES + threads * THREAD_BYTES + (M + N) * RESULT_BYTES
        _lower(resource.RLIMIT_AS, _address_space() + needed)


def _lower(kind: int, soft: int, hard_margin: int = 0) -> None:
    _, current_hard = resource.getrlimit(kind)
    hard = soft + hard_margin if current_hard == resource.RLIM_INFINITY else min(soft + hard_margin, current_hard)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _largest_log_bytes() -> int:
    """Return the size of the largest file that standard output or standard error is written to."""
    streams = [os.fstat(descriptor) for descriptor in (1, 2)]
    return max((stream.st_size for stream in streams if stat.S_ISREG(stream.st_mode)), default=0)


def _tasks_of_user() -> int:
    """Return the number of processes and threads of this user that /proc shows."""
    tasks = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # the process ended meanwhile
            if process.name.isdigit() and process.stat().st_uid == os.getuid():
                tasks += len(list((process / "task").iterdir()))
    return tasks


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
