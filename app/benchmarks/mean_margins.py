"""Mean margin of each target of a benchmark version.

Legend: M subsets with published margins, R runs, N targets.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@lru_cache(maxsize=128)
def mean_margins(folder: Path) -> NDArray[np.float64]:
    """Return the mean margin of each target over all models whose margins are published, float64 (N,), read-only.

    `folder` is the folder of a published version. On an open benchmark, the models of the ranking subsets are included. The
    result is cached, because versions never change.
    """
    margins_MRN = np.load(folder / "public" / "margins.npy", mmap_mode="r", allow_pickle=False)
    mean_N: NDArray[np.float64] = margins_MRN.mean(axis=(0, 1), dtype=np.float64)
    mean_N.flags.writeable = False
    return mean_N
