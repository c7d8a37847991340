"""Predict the margins of chosen targets: round the scores of some targets, add them over each subset, then go on.

Legend: M subsets, n training examples, N targets, b chosen targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ldsboard.core.grid import to_grid
from ldsboard.core.kernel import KERNEL_COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.products import Product
    from ldsboard.formats.headers import ScoreArray

ROUNDED_NUMBERS = 2**18
"""Number of scores that are rounded at a time for the compiled kernel. New pages of memory for the grid integers of a whole block
would cost a scoring process as much time as the sums."""

ROUNDED_FOR_BLAS = 2**24
"""Number of scores that are rounded at a time for BLAS, which is fastest for many targets: at least those of a block."""


class Predictions(NamedTuple):
    """Predictions, and how the scores were rounded.

    Attributes
    ----------
    sums_bM
        Sums of grid integers over the examples of each subset, float64 (b, M).
    n_train
        Number of training examples n.
    rounded_b, typical_b, exponent_b
        What `ldsboard.core.grid.GridBlock` says of each target.
    """

    sums_bM: NDArray[np.float64]
    n_train: int
    rounded_b: NDArray[np.bool_]
    typical_b: NDArray[np.float64]
    exponent_b: NDArray[np.integer]


def targets_at_a_time(n: int, product: Product) -> int:
    """Return the number of targets whose scores are rounded at a time: complete tiles of the kernel, at least one."""
    numbers = ROUNDED_NUMBERS if product.by_tiles else ROUNDED_FOR_BLAS
    return max(KERNEL_COLUMNS, numbers // n // KERNEL_COLUMNS * KERNEL_COLUMNS)


def predict(
    scores_nN: ScoreArray, targets: range | NDArray[np.integer], product: Product, rows: slice = slice(None)
) -> Predictions:
    """Return the predictions for one or more targets, neighbouring ones or those with some indices, and for chosen subsets.

    Raises
    ------
    ProblemError
        ``scores.nonfinite``: a score is NaN or infinite.
    """
    n, b = len(scores_nN), len(targets)
    step = targets_at_a_time(n, product)
    sums_bM, grids = np.empty((b, len(range(product.n_subsets)[rows]))), []
    for start in range(0, b, step):
        some = targets[start : start + step]
        grid = to_grid(scores_nN, slice(some.start, some.stop) if isinstance(some, range) else some, product.route)
        sums_bM[start : start + step] = product(grid.whole_nb)[:, rows]
        grids.append(grid[1:])
    return Predictions(sums_bM, n, *map(np.concatenate, zip(*grids, strict=True)))
