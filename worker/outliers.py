"""Find models whose accuracy is far from that of the others, as after a failed training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.shards import Shard

THRESHOLD = 5.0
"""Distance in robust standard deviations. Of 2,000 normally distributed values, any is so far away once in 1,000 benchmarks."""

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution divided by its median absolute deviation."""


@dataclass(frozen=True)
class Outlier:
    """A model, its accuracy, and the median accuracy. It names no examples of the subset."""

    number: int
    part: str
    subset: int
    run: int
    accuracy: float
    median: float

    def __str__(self) -> str:
        place = f"{self.part} subset {self.subset}, run {self.run}"
        return f"model {self.number} ({place}): accuracy {self.accuracy:.4f}, median {self.median:.4f}"


def outliers(shards: Iterable[Shard]) -> list[Outlier]:
    """Return the models whose accuracy is further than `THRESHOLD` deviations from the median of all, in order.

    The deviation is 1.4826 times the median absolute deviation (Rousseeuw and Croux 1993), but at least 1 / N: if nearly all
    models classify the same number of targets correctly, one target more or less makes no outlier.
    """
    found = {
        shard.start + k: (shard.models[k], accuracy, shard.margins.shape[1])
        for shard in shards
        for k, accuracy in enumerate(shard.accuracy)
    }
    if not found:
        return []
    accuracy = np.array([value for _, value, _ in found.values()])
    median = float(np.median(accuracy))
    targets = next(iter(found.values()))[2]
    deviation = max(NORMAL_MAD * float(np.median(np.abs(accuracy - median))), 1 / targets)
    return [
        Outlier(number, str(model[0]), int(model[1]), int(model[2]), float(value), median)
        for number, (model, value, _) in sorted(found.items())
        if abs(value - median) > THRESHOLD * deviation
    ]
