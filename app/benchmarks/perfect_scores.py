"""Whether the subsets of a benchmark can show that a score file is better than random scores."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from app.benchmarks.catalog import version_folder
from ldsboard import GroundTruth
from ldsboard.core.chance import RANDOM_P
from ldsboard.core.significance import FEW_SUBSETS

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.models import Version


def can_pass(root: Path, version: Version) -> bool:
    """Return whether some scores are distinguishable from random scores on the ranking subsets of a version.

    `root` is the folder of all benchmarks. The result can be False only on an open benchmark with fewer than `FEW_SUBSETS`
    ranking subsets. For such a benchmark, the first call scores the margins against themselves; the result is cached.
    """
    rows = version.manifest["ranking"]
    if rows is None or rows[1] - rows[0] >= FEW_SUBSETS:
        return True
    return _perfect_scores_pass(version_folder(root, version.benchmark.name, version.version), *rows)


@lru_cache(maxsize=128)
def _perfect_scores_pass(folder: Path, first: int, stop: int) -> bool:
    """Return whether predictions that equal the margins are distinguishable from random predictions, on the ranking subsets.

    If the result is False, no score file is distinguishable from random scores, because no other predictions have a higher LDS.
    The margins of the published version in `folder` are scored against themselves. The ranking subsets are the rows `first` to
    `stop` - 1, as in `ldsboard.manifest.Manifest.ranking`. The result is cached, because versions never change.
    """
    margins_MRN = np.load(folder / "public" / "margins.npy", mmap_mode="r")[first:stop]
    # Each subset holds one example of its own, so that the scores are the predictions.
    truth = GroundTruth(np.eye(len(margins_MRN), dtype=np.bool_), margins_MRN)
    return truth.score(truth.margins_MN).p_random <= RANDOM_P
