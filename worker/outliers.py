"""Models whose accuracy stands far from the others': trained on something broken, or not trained at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.shards import Shard

FAR = 5.0
"""In standard deviations, estimated robustly: of two thousand normal values, one in a thousand benchmarks has one so far."""

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""


@dataclass(frozen=True)
class Outlier:
    """One model, and the median that its accuracy is far from. What its subset holds is not said."""

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
    """Return the models whose accuracy is further than `FAR` deviations from the median of all, in order.

    The deviation is 1.4826 times the median absolute deviation (Rousseeuw and Croux 1993), and at least one target's worth, so
    that models which nearly all classify the same number of targets rightly are no reason to name the next best.
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
        if abs(value - median) > FAR * deviation
    ]
