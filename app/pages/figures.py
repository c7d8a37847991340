"""The data of charts, as the tables under them show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 40
"""Bins from -1 to 1: each is 0.05 wide."""


@dataclass(frozen=True)
class Bin:
    """How many values lie from ``low`` to below ``high`` (in the last bin, to ``high`` itself)."""

    low: float
    high: float
    count: int


def histogram(rho_N: NDArray[np.float64]) -> list[Bin]:
    """Count correlations, float64 (N,), in bins of equal width, from the first bin that holds any to the last."""
    counts, edges = np.histogram(rho_N, bins=BINS, range=(-1.0, 1.0))
    filled = np.flatnonzero(counts)
    return [
        Bin(round(float(edges[i]), 2), round(float(edges[i + 1]), 2), int(counts[i]))
        for i in range(filled[0], filled[-1] + 1)
    ]
