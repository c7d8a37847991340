"""Scores on a fixed-point grid, so that their sums over a subset are exact.

Every column becomes integers of at most ``53 - n.bit_length()`` bits. Any sum of n of them is an integer below 2**53, which
float64 holds exactly: predictions do not depend on the order of summation, and so not on the BLAS, its threads or the
block size; and equal sums stay ties.

Legend: n training examples, b targets of one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ldsboard.scores import check_finite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.formats import ScoreArray


def grid_bits(n: int) -> int:
    """Return the number of bits of a grid integer, so that the sum of n of them stays below 2**53."""
    return 53 - n.bit_length()


def to_grid(scores_nN: ScoreArray, columns: slice) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Round some columns of the scores to their grids.

    Parameters
    ----------
    scores_nN
        Real scores, (n, N).
    columns
        The b columns meant.

    Returns
    -------
    grid_bn : numpy.ndarray
        Integers as float64, (b, n): ``rint(score * 2**(B - e))``, the largest magnitude of the column below ``2**e``.
    rounded_b : numpy.ndarray
        bool (b,), True where the rounding changed a value.

    Raises
    ------
    ProblemError
        A ValueError: a score is not finite.
    """
    grid_bn = np.array(scores_nN[:, columns].T, dtype=np.float64, order="C")
    largest_b = np.maximum(grid_bn.max(axis=1), -grid_bn.min(axis=1))
    if not np.isfinite(largest_b).all():
        check_finite(scores_nN)
    exponent_b = np.where(largest_b > 0, grid_bits(len(scores_nN)) - np.frexp(largest_b)[1], 0)
    # Two steps, because 2**1100, which subnormal columns need, is no float64. When scaling down, the first step may round
    # to a subnormal number; what is that small ends as 0 either way.
    half_b = exponent_b // 2
    grid_bn *= np.ldexp(1.0, half_b)[:, None]
    grid_bn *= np.ldexp(1.0, exponent_b - half_b)[:, None]
    exact_bn = grid_bn.copy()
    np.rint(grid_bn, out=grid_bn)
    rounded_b = (grid_bn != exact_bn).any(axis=1)
    # Entries of a column scaled down may have become 0 before they were rounded.
    for row in np.flatnonzero(exponent_b < 0):
        rounded_b[row] |= bool(((grid_bn[row] == 0) & (scores_nN[:, columns][:, row] != 0)).any())
    return grid_bn, rounded_b
