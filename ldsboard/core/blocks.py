"""Score an array block by block: neighbouring targets together, in several threads, within a memory limit.

Legend: M subsets, n training examples, N targets, b targets of one block.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from ldsboard.core.kernel import KERNEL_COLUMNS
from ldsboard.core.parallel import map_in_order
from ldsboard.core.predictions import predict, targets_at_a_time
from ldsboard.core.result import TargetBlock, TargetSums

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from ldsboard.core.products import Product
    from ldsboard.core.ranked_subsets import RankedSubsets
    from ldsboard.formats.headers import ScoreArray

MAX_BLOCK_TARGETS = 256
"""Largest number of targets in a block. Larger blocks are no faster, and need more new pages of memory."""

MAX_BLOCK_BYTES = 2**26
"""Memory limit, in bytes, for the grid integers and predictions of the blocks of all threads together; twice as much for BLAS,
which needs the grid integers of a whole block. A block has at least `KERNEL_COLUMNS` targets all the same, because the kernel
takes as long for one."""

MIN_THREADED_PRODUCTS = 10**7
"""Number of multiplications below which starting threads costs more time than threads save."""


def score_blocks(
    scores_nN: ScoreArray,
    parts: Mapping[str, RankedSubsets],
    product: Product,
    *,
    threads: int,
    progress: Callable[[float], object] | None,
) -> dict[str, TargetSums]:
    """Score an array against each part of the subsets.

    Parameters
    ----------
    parts
        The subsets of each part, by name.
    product
        Computes the predictions of a block for all subsets.
    threads
        Largest number of threads.
    progress
        Function to call in this thread after each block, with the fraction of the targets that are scored. If it raises an
        exception, blocks that are in progress end, no other block begins, and the exception is raised.
    """
    (n, N), M = scores_nN.shape, product.n_subsets
    if product.by_tiles:
        limit, of_thread, of_target = MAX_BLOCK_BYTES, 8 * n * targets_at_a_time(n, product), 8 * M
    else:
        limit, of_thread, of_target = 2 * MAX_BLOCK_BYTES, 0, 8 * (n + M)
    fitting = limit // (of_thread + KERNEL_COLUMNS * of_target)
    threads = max(1, min(threads, fitting, -(-N // KERNEL_COLUMNS)))
    share = -(-N // threads)
    targets = min((limit // threads - of_thread) // of_target, share + -share % KERNEL_COLUMNS)
    targets = min(MAX_BLOCK_TARGETS, max(KERNEL_COLUMNS, targets - targets % KERNEL_COLUMNS))
    # Parts with the same subsets, as on an open benchmark, are scored once.
    distinct = {id(part): part for part in parts.values()}

    def score_block(first: int) -> dict[int, TargetBlock]:
        predictions = predict(scores_nN, range(first, min(first + targets, N)), product)
        return {key: part.score_block(predictions, first, product.route) for key, part in distinct.items()}

    def scored_blocks() -> Generator[dict[int, TargetBlock], None, None]:
        firsts = range(0, N, targets)
        if n * M * N < MIN_THREADED_PRODUCTS:
            yield from map(score_block, firsts)
        else:
            yield from map_in_order(score_block, firsts, threads)

    sums = {key: TargetSums.empty(part.chance) for key, part in distinct.items()}
    # Without `closing`, an exception that is kept would keep the threads and the limit of the BLAS as well.
    with closing(scored_blocks()) as blocks:
        for first, scored in zip(range(0, N, targets), blocks, strict=True):
            for key, block in scored.items():
                sums[key].add(block)
            if progress is not None:
                progress(min(first + targets, N) / N)
    return {name: sums[id(part)] for name, part in parts.items()}
