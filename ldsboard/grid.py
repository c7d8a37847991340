"""Scores on a fixed-point grid, so that their sums over a subset are exact.

Every column becomes integers of at most ``53 - n.bit_length()`` bits. Any sum of n of them is an integer below 2**53, which
float64 holds exactly: predictions do not depend on the order of summation, and so not on the BLAS, its threads or the
block size; and equal sums stay ties.

Legend: n training examples, b targets of one block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldsboard.scores import check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.headers import ScoreArray

CHUNK_NUMBERS = 2**16
"""Scores rounded at a time: few enough for the steps between reading and writing to stay in the processor's cache."""

FLOAT32_EXPONENTS = (0, 120)
"""Exponents by which any float32 column may be scaled to its grid without rounding or overflow."""


def grid_bits(n: int) -> int:
    """Return the number of bits of a grid integer, so that the sum of n of them stays below 2**53."""
    return 53 - n.bit_length()


class GridBlock(NamedTuple):
    """A block of columns on their grids.

    Attributes
    ----------
    whole_nb
        Integers as float64, (n, b): ``rint(score * 2**(B - e))``, the largest magnitude of the column below ``2**e``.
    rounded_b
        bool (b,), True where the rounding changed a value.
    typical_b
        float64 (b,): in columns most of whose scores other than 0 were coarsely rounded, their median magnitude in steps of the
        grid, at least half a step; infinite in all others.
    exponent_b
        integers (b,): a step of the grid of a column is ``2**-exponent``.
    """

    whole_nb: NDArray[np.float64]
    rounded_b: NDArray[np.bool_]
    typical_b: NDArray[np.float64]
    exponent_b: NDArray[np.integer]


def to_grid(scores_nN: ScoreArray, columns: slice | NDArray[np.integer]) -> GridBlock:
    """Round some columns of the scores (n, N) to their grids.

    Raises
    ------
    ProblemError
        A ValueError: a score is not finite.
    """
    scores_nb = scores_nN[:, columns]
    if scores_nb.dtype.itemsize == 2:  # noqa: PLR2004
        scores_nb = scores_nb.astype(np.float32)  # four times as fast from here on, and exact
    n, b = scores_nb.shape
    largest_b = np.maximum(scores_nb.max(axis=0), -scores_nb.min(axis=0)).astype(np.float64)
    if not np.isfinite(largest_b).all():
        check_finite(scores_nN)
    exponent_b = np.where(largest_b > 0, grid_bits(n) - np.frexp(largest_b)[1], 0)
    factors = _factors(exponent_b, scores_nb.dtype)
    whole_nb = np.empty((n, b))
    rounded_b = np.zeros(b, dtype=np.bool_)
    coarse_b = np.zeros(b, dtype=np.intp)
    rows = max(1, CHUNK_NUMBERS // b)
    for start in range(0, n, rows):
        chunk = slice(start, start + rows)
        scaled = scores_nb[chunk] * factors[0]
        for factor_b in factors[1:]:
            scaled *= factor_b
        whole = np.rint(scaled)
        whole_nb[chunk] = whole
        changed = whole != scaled
        rounded_b |= changed.any(axis=0)
        changed &= np.abs(scaled, out=scaled) < coarse_limit(n)
        if changed.any():
            coarse_b += np.count_nonzero(changed, axis=0)
    # Entries of a column scaled down may have become 0 before they were rounded.
    for j in np.flatnonzero(exponent_b < 0):
        vanished = np.count_nonzero((whole_nb[:, j] == 0) & (scores_nb[:, j] != 0))
        rounded_b[j] |= vanished > 0
        coarse_b[j] = max(coarse_b[j], vanished)
    typical_b = np.full(b, np.inf)
    for j in np.flatnonzero(coarse_b):
        steps = np.abs(whole_nb[scores_nb[:, j] != 0, j])
        if 2 * coarse_b[j] > steps.size:
            typical_b[j] = max(0.5, np.median(steps))
    return GridBlock(whole_nb, rounded_b, typical_b, exponent_b)


def coarse_limit(n: int) -> float:
    """Return the steps of the grid below which a rounded score is coarse.

    Sums of half of n such scores spread by ``sqrt(n) / 2`` of them, and their roundings may add up to ``n / 4`` steps: at this
    size, a thousandth of the spread.
    """
    return 500 * math.sqrt(n)


def _factors(exponent_b: NDArray[np.intp], dtype: np.dtype[np.floating]) -> list[NDArray[np.floating]]:
    """Return factors (b,) whose product is ``2**exponent_b``; multiplying by one after the other loses nothing that counts."""
    low, high = FLOAT32_EXPONENTS
    if dtype.itemsize <= 4 and low <= exponent_b.min() and exponent_b.max() <= high:  # noqa: PLR2004
        # A scaled and rounded float32 is still one: half the memory to move.
        return [np.ldexp(np.float32(1), exponent_b)]
    if np.abs(exponent_b).max() < 1000:  # noqa: PLR2004
        return [np.ldexp(1.0, exponent_b)]
    # Two steps, because 2**1100, which subnormal columns need, is no float64. When scaling down, the first step may round
    # to a subnormal number; what is that small ends as 0 either way.
    half_b = exponent_b // 2
    return [np.ldexp(1.0, half_b), np.ldexp(1.0, exponent_b - half_b)]
