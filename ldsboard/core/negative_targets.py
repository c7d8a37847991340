"""Count the targets whose rho is clearly negative: scores with the wrong sign for some targets, and not for all.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST, SHARE, FEW_SUBSETS = 3, 0.05, 64
"""The user is told of clearly negative targets if they are at least FEWEST, and at least this SHARE of all targets: by a warning,
or for fewer subsets than FEW_SUBSETS by a note."""


def negative_targets(rho_N: NDArray[np.float64], M: int, n: int) -> int:
    """Return how many targets are clearly negative: their rho is at most ``-3.09 sqrt((1 + M / n) / (M - 1))``.

    The bound is 3.09 standard deviations of rho for random scores: over subsets, the variance is ``1 / (M - 1)``; and random
    scores correlate by chance with the true effects of n examples, with the variance ``1 / n``. Each target of a random file
    therefore has such a rho with a probability of at most about 0.001. By Markov's inequality, the probability that 5 % of the
    targets have such a rho is at most about 2 %, however the targets depend on one another.

    Parameters
    ----------
    rho_N
        Spearman's rho of each target, float64 (N,).
    M
        Number of subsets, at least 2.
    n
        Number of training examples.
    """
    return int(np.count_nonzero(rho_N <= -3.09 * math.sqrt((1 + M / n) / (M - 1))))


def are_many(negative: int, N: int) -> bool:
    """Return whether so many of N targets are clearly negative that the user is told."""
    return negative >= max(FEWEST, SHARE * N)
