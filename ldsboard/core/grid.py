"""Round scores to a fixed-point grid, so that their sums over a subset are exact.

Each column is scaled and rounded to integers of at most ``53 - n.bit_length()`` bits. Any sum of n such integers is below 2**53,
so that float64 represents it exactly. Predictions are therefore independent of the order of summation: of the BLAS, its threads
and the block size. Equal sums are ties.

Legend: n training examples, b targets of one block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldsboard.arrays.scores import check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.formats.headers import ScoreArray

CHUNK_NUMBERS = 2**16
"""Scores rounded at a time: few enough that the intermediate results stay in the processor's cache."""

FLOAT32_EXPONENTS = (0, 120)
"""Range of exponents for which scaling a float32 column by ``2**exponent`` neither rounds nor overflows."""


def grid_bits(n: int) -> int:
    """Return the number of bits of a grid integer: the sum of n such integers is below 2**53."""
    return 53 - n.bit_length()


class GridBlock(NamedTuple):
    """A block of b columns of scores, rounded to their grids.

    Attributes
    ----------
    whole_nb
        Integers as float64, (n, b): ``rint(score * 2**(B - e))``, with B the number of bits and ``2**e`` the smallest power of
        two above the largest magnitude in the column.
    rounded_b
        bool (b,), True where the rounding changed a value.
    typical_b
        float64 (b,), in grid steps: the median magnitude of the scores other than 0, at least half a step, in columns where most
        of these scores were coarsely rounded; infinite in other columns.
    exponent_b
        Integers (b,): the grid step of a column is ``2**-exponent``.
    """

    whole_nb: NDArray[np.float64]
    rounded_b: NDArray[np.bool_]
    typical_b: NDArray[np.float64]
    exponent_b: NDArray[np.integer]


def to_grid(scores_nN: ScoreArray, columns: slice | NDArray[np.integer]) -> GridBlock:
    """Round some columns of the scores to their grids.

    Parameters
    ----------
    scores_nN
        float16, float32 or float64, (n, N).
    columns
        The columns to round.

    Raises
    ------
    ProblemError
        A ValueError: a score is not finite.
    """
    scores_nb = scores_nN[:, columns]
    if scores_nb.dtype.itemsize == 2:  # noqa: PLR2004
        scores_nb = scores_nb.astype(np.float32)  # exact, and makes the following steps four times as fast
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
    # Scaling a column down may have underflowed scores to 0 before the rounding.
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
    """Return the magnitude, in grid steps, below which a rounded score counts as coarsely rounded.

    Sums over random halves of n scores of magnitude s have a standard deviation of about ``s sqrt(n) / 2``, and their rounding
    errors add up to at most ``n / 4`` steps. At the returned magnitude the errors are a thousandth of the standard deviation.
    """
    return 500 * math.sqrt(n)


def _factors(exponent_b: NDArray[np.intp], dtype: np.dtype[np.floating]) -> list[NDArray[np.floating]]:
    """Return one or two factors, (b,), whose product is ``2**exponent_b``; multiply by one after the other."""
    low, high = FLOAT32_EXPONENTS
    if dtype.itemsize <= 4 and low <= exponent_b.min() and exponent_b.max() <= high:  # noqa: PLR2004
        # Scaled and rounded float32 values are still float32, which halves the memory traffic.
        return [np.ldexp(np.float32(1), exponent_b)]
    if np.abs(exponent_b).max() < 1000:  # noqa: PLR2004
        return [np.ldexp(1.0, exponent_b)]
    # Two factors, because subnormal columns need 2**1100, which float64 cannot represent. When scaling down, the first factor may
    # round a score to a subnormal number; a score that small ends as 0 anyway.
    half_b = exponent_b // 2
    return [np.ldexp(1.0, half_b), np.ldexp(1.0, exponent_b - half_b)]
