"""Blocks of work in threads: in order, bounded, and without a lasting change to the process."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ldsboard.parallel import MAX_THREADS, map_in_order, usable_processors


def blas_threads() -> set[int]:
    """Return how many threads numpy's BLAS may use; other packages may have loaded their own since it was first limited."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in blas if "numpy" in library["filepath"] or len(blas) == 1}


NAMED = pytest.mark.skipif(
    not blas_threads(), reason="numpy's BLAS, such as that of macOS, is not one whose threads are set"
)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order(threads: int) -> None:
    assert list(map_in_order(lambda item: item * item, range(40), threads)) == [item * item for item in range(40)]


def test_no_more_than_one_block_is_ahead_of_each_thread() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item

    results = map_in_order(work, range(100), 2)
    for taken, item in enumerate(results):
        assert item == taken
        assert len(started) <= taken + 1 + 2 + 1  # the ones taken, one in each thread, and one that waits


@NAMED
def test_an_error_reaches_the_caller_and_the_blas_has_its_threads_again() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(ValueError, match="3"):
            list(map_in_order(fail, range(10), 2))
        assert blas_threads() == {2}


@NAMED
def test_products_have_one_thread_and_a_second_call_leaves_the_setting_alone() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        outer = map_in_order(lambda _: blas_threads(), range(9), 1)
        assert next(outer) == {1}
        assert list(map_in_order(lambda _: blas_threads(), [0], 1)) == [{1}]
        assert next(outer) == {1}
        assert list(outer)[-1] == {1}
        assert blas_threads() == {2}


def test_processors_are_counted() -> None:
    assert 1 <= usable_processors() <= MAX_THREADS
