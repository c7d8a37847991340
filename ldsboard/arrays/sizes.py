"""Sizes of subsets: a benchmark has one size.

If sizes differ, usually both the margins and the sums of equal scores grow with the size. Scores that are all equal and positive,
which say nothing about the examples, would then get an LDS above 0.

Legend: M subsets, n training examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ldsboard.counts import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LISTED_SIZES = 4
"""Largest number of sizes that `sizes_in_words` lists one by one."""


def rows_by_size(sizes_M: NDArray[np.integer], n: int) -> list[NDArray[np.intp]]:
    """Group subsets by size; subsets of one group count as subsets of one size.

    The sizes of a group differ by at most 2 (n // 1000), so that all are within 0.1 % of n of one size. Below n = 1,000 they are
    equal. A group begins at the smallest size that is in no group yet.

    Parameters
    ----------
    sizes_M
        Number of training examples in each subset, integers (M,).
    n
        Number of training examples.

    Returns
    -------
    list of numpy.ndarray
        For each group, from the smallest sizes to the largest, the ascending indices of its subsets.
    """
    widest = 2 * (n // 1000)
    first_sizes: list[int] = []
    for size in np.unique(sizes_M).tolist():
        if not first_sizes or size > first_sizes[-1] + widest:
            first_sizes.append(size)
    group_M = np.searchsorted(first_sizes, sizes_M, side="right") - 1
    return [np.flatnonzero(group_M == group) for group in range(len(first_sizes))]


def sizes_in_words(sizes_M: NDArray[np.integer]) -> str:
    """Return a text that lists each size with its number of subsets, or states only the range of more than 4 sizes."""
    sizes, counts = np.unique(sizes_M, return_counts=True)
    if len(sizes) > MAX_LISTED_SIZES:
        return f"{len(sizes):,} sizes from {sizes[0]:,} to {sizes[-1]:,} examples"
    listed = zip(sizes.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{count(number, 'subset')} of {count(size, 'example')}" for size, number in listed)
