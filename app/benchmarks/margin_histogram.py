"""Histogram of the published margins of a benchmark version.

Legend: M subsets with published margins, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

BINS = 40
TAIL_SHARE = 0.002
"""Share of the margins below the first edge, and share above the last edge; the outermost bins count these margins too."""

SAMPLE_SIZE = 1_000_000
"""The edges are computed from a sample of at least this many margins, or from all margins if there are fewer."""


@dataclass(frozen=True)
class MarginHistogram:
    """Histogram with bins of equal width; the outermost bins also count the margins outside the edges.

    ``positive`` is the share of margins above 0. If margins are log-odds, a margin above 0 means that the model gives the correct
    class a probability above 0.5.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    positive: float
    mean: float


@lru_cache(maxsize=128)
def margin_histogram(folder: Path) -> MarginHistogram:
    """Return the histogram of all published margins of a version; `folder` is the folder of the published version.

    On an open benchmark, the margins of the ranking subsets are included. The result is cached, because versions never change.
    """
    margins_MRN = np.load(folder / "public" / "margins.npy", mmap_mode="r")
    sample = margins_MRN.reshape(-1)[:: max(1, margins_MRN.size // SAMPLE_SIZE)]
    low, high = map(float, np.quantile(sample, (TAIL_SHARE, 1 - TAIL_SHARE)))
    edges = np.linspace(low, high, BINS + 1)
    counts, positive, total = np.zeros(BINS, np.int64), 0, 0.0
    for margins_RN in margins_MRN:
        counts += np.histogram(np.clip(margins_RN.astype(np.float64), low, high), edges)[0]
        positive += int(np.count_nonzero(margins_RN > 0))
        total += float(margins_RN.sum(dtype=np.float64))
    size = margins_MRN.size
    return MarginHistogram(tuple(edges.tolist()), tuple(counts.tolist()), positive / size, total / size)
