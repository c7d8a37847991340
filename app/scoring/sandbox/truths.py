"""Ground truth in memory: loaded and ranked by the fork server, shared by the processes that it forks."""

from __future__ import annotations

import encodings.cp437  # noqa: F401 -- in which archives name their files; as with the next line, a child should import nothing
import mmap  # noqa: F401 -- numpy imports it with the first file that it maps
from functools import lru_cache
from pathlib import Path

import numpy as np

from ldsboard import GroundTruth
from ldsboard.bundle import Bundle

MOST_TRUTHS = 4
"""Benchmarks held at a time; the one that was not used for longest makes room."""


@lru_cache(maxsize=MOST_TRUTHS)
def ground_truth(folder: str) -> tuple[GroundTruth, dict[str, slice]]:
    """Return the ground truth of a published benchmark, ranked, and its parts."""
    masks_Mn, margins_MRN, parts = Bundle.open(Path(folder)).scored_arrays()
    truth = GroundTruth(masks_Mn, margins_MRN)
    truth.rank(parts)
    return truth, parts


def import_everything() -> None:
    """Score an array made up here: much is imported only then, and would be again in every process forked before."""
    rng = np.random.default_rng(0)
    truth = GroundTruth(rng.random((100, 1000)) < 0.5, rng.random((100, 100)))  # noqa: PLR2004 -- large enough for threads
    truth.score(rng.random((1000, 100)), threads=1)
