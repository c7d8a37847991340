"""Ground truth in memory: the fork server loads the ground truth and ranks the margins; the scoring processes share both."""

from __future__ import annotations

import encodings.cp437  # noqa: F401 -- zipfile decodes names with it; no child needs to import it
import mmap  # noqa: F401 -- numpy imports it when it maps its first file
from functools import lru_cache
from pathlib import Path

import numpy as np

from ldsboard import GroundTruth
from ldsboard.bundle import Bundle

MAX_GROUND_TRUTHS = 4
"""Number of benchmark versions kept in memory; the least recently used version is dropped first."""


@lru_cache(maxsize=MAX_GROUND_TRUTHS)
def load_ground_truth(folder: str) -> tuple[GroundTruth, dict[str, slice]]:
    """Return the ground truth in a benchmark folder, and the rows of each part: ``public``, ``ranking`` and any ``reserve``.

    The margins are also ranked within each part, so that the scoring processes need not rank the margins again. The results of
    the `MAX_GROUND_TRUTHS` most recently used folders stay in memory. With M subsets in R runs, n training examples and N
    targets, each takes about ``M (n / 4 + (16 + 4 R) N)`` bytes.

    Raises
    ------
    BundleError
        A file of the benchmark is missing or damaged, or the hidden part belongs to another benchmark.
    """
    masks, margins_MRN, parts = Bundle.open(Path(folder)).scored_arrays()
    truth = GroundTruth(masks, margins_MRN)
    truth.rank(parts)
    return truth, parts


def preload_imports() -> None:
    """Score random arrays, so that modules that are imported on first use are loaded before any fork."""
    rng = np.random.default_rng(0)
    truth = GroundTruth(rng.random((100, 1000)) < 0.5, rng.random((100, 100)))  # noqa: PLR2004 -- enough for several threads
    truth.score(rng.random((1000, 100)), threads=1)
