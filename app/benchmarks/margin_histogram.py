"""What the models of a benchmark did on its targets, as far as everybody may know it: the margins on the public subsets.

Legend: M public subsets, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BINS = 40
TAILS = 0.002
"""Share of the margins below the first edge, and above the last: they are counted in the bins at the ends."""

SAMPLE = 1_000_000
"""Margins that the edges are taken from."""


@dataclass(frozen=True)
class MarginHistogram:
    """Margins in bins of equal width; those outside are counted in the first and the last.

    ``positive`` is the share of margins above 0: as log-odds, of the models that give the correct class more than half.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    positive: float
    mean: float


@lru_cache(maxsize=128)
def margin_histogram(folder: Path) -> MarginHistogram:
    """Return what the public margins of a published version look like; read once, for a version never changes."""
    margins_MRN = np.load(folder / "public" / "margins.npy", mmap_mode="r")
    sample = margins_MRN.reshape(-1)[:: max(1, margins_MRN.size // SAMPLE)]
    low, high = np.quantile(sample, (TAILS, 1 - TAILS))
    edges = np.linspace(float(low), float(high), BINS + 1)
    counts, positive, total = np.zeros(BINS, np.int64), 0, 0.0
    for margins_RN in margins_MRN:
        counts += _counted(margins_RN, edges)
        positive += int(np.count_nonzero(margins_RN > 0))
        total += float(margins_RN.sum(dtype=np.float64))
    size = margins_MRN.size
    return MarginHistogram(tuple(edges.tolist()), tuple(counts.tolist()), positive / size, total / size)


def _counted(margins_RN: NDArray[np.float32], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    inside = np.clip(margins_RN.astype(np.float64), edges[0], edges[-1])
    counts: NDArray[np.int64] = np.histogram(inside, bins=edges)[0]
    return counts
