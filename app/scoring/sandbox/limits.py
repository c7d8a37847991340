"""What one scoring process may take of the machine, held by the kernel whatever a file makes it do.

Set in the forked child, and so for one file: nothing adds up in a process that stays. Hard limits of the operator's own are kept.
Shape and size of a file are compared with the benchmark's before anything of it is read, so that no content makes an honest
computation reach a limit: a process that ends at one is our failure, tried again, and not the fault of the file.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
from contextlib import suppress
from pathlib import Path

OUT_OF_MEMORY = 12
"""Exit status of a child that got less memory than it asked for."""

OPEN_FILES = 32
"""Descriptors: the streams, the service, the score file and its mapping, and a few that libraries open for a moment."""

WRITTEN_BYTES = 2**24
"""A child writes nothing but what it says on the log, which may be a file and long already."""

MORE_PROCESSES = 1024
"""The kernel counts all processes and threads of a user, other servers' too, and counts none for root: a bound for a fork bomb,
far from what scoring needs, since a user close to it could not score at all."""

SCORING_BYTES = 2**28
"""Address space of scoring beside the file; 70 MiB were measured."""

THREAD_BYTES = 2**28
"""Address space of a thread: its stack, and what malloc and the BLAS reserve for it; 100 MiB were measured."""

NUMBER_BYTES = 2**8
"""For each subset and target: what is found of it, and the answer."""

CPU_SECONDS, PRODUCTS_PER_SECOND = 60, 10**8
"""A processor of today does 7e9 multiplications of scoring in a second, ranking included."""


def hold_process() -> None:
    """Limit what no file has a say in: open files, written bytes, processes; and core dumps, in which hidden margins would be."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, _longest_log() + WRITTEN_BYTES)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_NPROC, _tasks_of_user() + MORE_PROCESSES)


def hold_work(M: int, n: int, N: int, data_bytes: int, threads: int) -> None:
    """Limit memory and processor time to what it takes to score ``data_bytes`` of an (n, N) file against M subsets.

    The limit of address space counts what the process has already, the ground truth that it shares among it; and the file twice,
    where it is mapped and where it is inflated or copied.
    """
    _lower(
        resource.RLIMIT_CPU, CPU_SECONDS + M * n * N // PRODUCTS_PER_SECOND, beyond=1
    )  # at the hard limit it is killed
    if sys.platform == "linux":
        needed = 2 * data_bytes + SCORING_BYTES + threads * THREAD_BYTES + (M + N) * NUMBER_BYTES
        _lower(resource.RLIMIT_AS, _address_space() + needed)


def _lower(kind: int, soft: int, beyond: int = 0) -> None:
    _, most = resource.getrlimit(kind)
    hard = soft + beyond if most == resource.RLIM_INFINITY else min(soft + beyond, most)
    resource.setrlimit(kind, (min(soft, hard), hard))


def _longest_log() -> int:
    """Return the length of the longest file that a standard stream is written to."""
    streams = [os.fstat(descriptor) for descriptor in (1, 2)]
    return max((stream.st_size for stream in streams if stat.S_ISREG(stream.st_mode)), default=0)


def _tasks_of_user() -> int:
    """Return how many processes and threads this user has, as far as can be seen."""
    tasks = 0
    for process in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile
            if process.name.isdigit() and process.stat().st_uid == os.getuid():
                tasks += len(list((process / "task").iterdir()))
    return tasks


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
