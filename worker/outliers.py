"""Find models whose accuracy is far from the median accuracy, for example because training failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.shards import Shard

THRESHOLD = 5.0
"""Distance from the median, in robust standard deviations, beyond which a model is an outlier.

Of benchmarks with 2,000 models and normally distributed accuracies, 1 in 1,000 has an outlier.
"""

NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution divided by its median absolute deviation."""


@dataclass(frozen=True)
class Outlier:
    """A model whose accuracy is far from `median`, the median accuracy of all trained models.

    The fields identify the model's subset by its number only, and do not reveal which examples are in a hidden subset.
    """

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
    """Return the models whose accuracy is further than `THRESHOLD` deviations from the median, ordered by model number.

    The deviation is 1.4826 times the median absolute deviation (Rousseeuw and Croux 1993), but at least 1 / N for N targets.
    Without this minimum, if nearly all models classified the same number of targets correctly, a model that classified one
    target more or one target fewer correctly would be an outlier.
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
