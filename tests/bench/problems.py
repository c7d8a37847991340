"""The random problems of the benchmark of scoring, also for an earlier version of the library in another process.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import numpy as np

from tests.references.answers import Case

n = 5000


def problem(M: int, targets: int) -> Case:
    """Return unrelated random scores, masks and margins; the time does not depend on their values."""
    rng = np.random.default_rng(0)
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    margins_MN = rng.normal(size=(M, targets)).astype(np.float32)
    return Case(rng.normal(size=(n, targets)).astype(np.float32), masks_Mn, margins_MN)
