"""Running blocks of work in threads: ordered results, bounded look-ahead, and restored BLAS settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ldsboard.core.board import rank_board
from ldsboard.core.pair_tests import PairTests
from ldsboard.core.parallel import MAX_THREADS, map_in_order, usable_processors


def blas_threads() -> set[int]:
    """Return the thread limits of numpy's BLAS; other packages may have loaded their own BLAS."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in blas if "numpy" in library["filepath"] or len(blas) == 1}


NEEDS_LIMITABLE_BLAS = pytest.mark.skipif(
    not blas_threads(), reason="threadpoolctl cannot limit numpy's BLAS, for example on macOS"
)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_in_order_yields_results_in_order(threads: int) -> None:
    assert list(map_in_order(lambda item: item * item, range(40), threads)) == [item * item for item in range(40)]


def test_in_order_starts_at_most_one_waiting_block() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item

    results = map_in_order(work, range(100), 2)
    for consumed, item in enumerate(results):
        assert item == consumed
        assert len(started) <= consumed + 1 + 2 + 1  # consumed blocks, one block in each thread, one waiting block


@NEEDS_LIMITABLE_BLAS
def test_in_order_raises_error_and_restores_blas_threads() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(ValueError, match="3"):
            list(map_in_order(fail, range(10), 2))
        assert blas_threads() == {2}


@NEEDS_LIMITABLE_BLAS
def test_in_order_limits_blas_to_one_thread_also_in_nested_calls() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        outer = map_in_order(lambda _: blas_threads(), range(9), 1)
        assert next(outer) == {1}
        assert list(map_in_order(lambda _: blas_threads(), [0], 1)) == [{1}]
        assert next(outer) == {1}
        assert list(outer)[-1] == {1}
        assert blas_threads() == {2}


@NEEDS_LIMITABLE_BLAS
def test_in_order_leaves_all_blas_threads_to_the_caller_once_all_items_are_done() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        assert [blas_threads() for _ in map_in_order(str, range(7), 2)] == [{1}] * 4 + [{2}] * 3


@NEEDS_LIMITABLE_BLAS
@pytest.mark.parametrize("k", [3, 200])
def test_ranking_uses_one_blas_thread_for_each_product(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    squares = PairTests._squares

    def observed(tests: PairTests, *pairs: Any) -> Any:
        seen.update(blas_threads())
        return squares(tests, *pairs)

    monkeypatch.setattr(PairTests, "_squares", observed)
    rng = np.random.default_rng(0)
    with threadpool_limits(limits=2, user_api="blas"):
        rank_board(rng.random(k), rng.normal(size=(k, 50)), np.arange(k) > 0, 1)
    assert seen == {1}


def test_usable_processors_is_within_bounds() -> None:
    assert 1 <= usable_processors() <= MAX_THREADS
