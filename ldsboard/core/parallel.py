"""Compute blocks in several threads, yield the results in order, and limit the memory in use."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Done = TypeVar("Done")

MAX_THREADS = 8
"""Largest number of threads: any more would only wait for memory."""


def usable_processors() -> int:
    """Return the number of processors that are available to this process, but at most `MAX_THREADS`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, MAX_THREADS)


def map_in_order(work: Callable[[Item], Done], items: Iterable[Item], threads: int) -> Iterator[Done]:
    """Yield ``work(item)`` for each item, in the order of the items, computed by several threads.

    At most ``threads + 1`` items are in progress or wait to be yielded. While items are in progress, each matrix product of the
    whole process uses one BLAS thread. With more BLAS threads, the products would compete for the processors, which costs a
    third of the speed. The last ``threads + 1`` results are yielded once all items are done, so that what the caller computes
    from them can use all processors.
    """
    with _one_thread_per_product(), ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Done]] = deque()
        for item in items:
            if len(ahead) > threads:
                yield ahead.popleft().result()
            ahead.append(pool.submit(work, item))
    while ahead:
        yield ahead.popleft().result()


@contextmanager
def _one_thread_per_product() -> Iterator[None]:
    """Limit the BLAS of the process to one thread in a ``with`` statement; do nothing if this limit is set already."""
    if not _blas_lock.acquire(blocking=False):
        yield
        return
    try:
        with _blas_controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _blas_lock.release()


_blas_lock = threading.Lock()


@cache
def _blas_controller() -> ThreadpoolController:
    # Finding the loaded BLAS libraries takes milliseconds. The result is therefore cached, and not computed on import.
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 -- a tenth of the import time of ldsboard

    return ThreadpoolController()
