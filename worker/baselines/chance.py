"""Random scores: the baseline that uses no information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.baselines.material import Material

SEED = 0


def random(material: Material, seed: int = SEED) -> NDArray[np.float32]:
    """Return scores drawn from the standard normal distribution, float32 (n, N)."""
    shape = (len(material.train.labels), len(material.target.labels))
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
