"""The mean over targets of the noise ceiling before the correction for bias, computed with SciPy.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray


def uncorrected_ceiling(margins_MRN: NDArray[np.floating]) -> float:
    """Return the mean over targets of the square root of the Spearman-Brown reliability, from (M, R, N)."""
    R = margins_MRN.shape[1]
    ranks_MRN = stats.rankdata(margins_MRN, axis=0)
    unit_MRN = ranks_MRN - ranks_MRN.mean(axis=0)
    unit_MRN /= np.linalg.norm(unit_MRN, axis=0)
    pairs = [(unit_MRN[:, a] * unit_MRN[:, b]).sum(axis=0) for a, b in combinations(range(R), 2)]
    positive_N = np.maximum(np.mean(pairs, axis=0), 0)
    return float(np.sqrt(R * positive_N / (1 + (R - 1) * positive_N)).mean())
