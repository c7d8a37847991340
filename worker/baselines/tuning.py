"""How settings are chosen: every setting of a method, scored on public subsets that it was not fitted to.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import fsum
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard import GroundTruth
from worker.baselines.registry import BASELINES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard import Result
    from worker.baselines.material import Material

FOLDS = 5
NORMAL_95 = 1.96
FITTED = "datamodel"
"""The method that reads the public margins: scored on them it would only show how well it remembers."""


@dataclass(frozen=True)
class Trial:
    """A setting and its LDS on public subsets, with a 95 % interval; from folds, the mean over folds with the normal one."""

    setting: Any
    lds: float
    interval: tuple[float, float]
    z_random: float


def tune(name: str, material: Material) -> Iterator[Trial]:
    """Try every setting of a baseline on the public subsets; one fitted to them by 5-fold cross-validation."""
    for setting in BASELINES[name].settings:
        if name == FITTED:
            folds = [_fold(name, material, setting, fold) for fold in range(FOLDS)]
            mean = fsum(result.lds for result in folds) / FOLDS
            reach = NORMAL_95 * fsum(result.std_error**2 for result in folds) ** 0.5 / FOLDS
            z_random = fsum(result.z_random for result in folds) / FOLDS**0.5
            yield Trial(setting, mean, (mean - reach, mean + reach), z_random)
        else:
            result = GroundTruth(material.masks_Mn, material.margins_MRN).score(
                BASELINES[name].score(material, setting)
            )
            yield Trial(setting, result.lds, result.confidence_interval, result.z_random)


def _fold(name: str, material: Material, setting: Any, fold: int) -> Result:
    """Fit without every fifth subset and score on those."""
    held = np.arange(len(material.masks_Mn)) % FOLDS == fold
    fitted = replace(material, masks_Mn=material.masks_Mn[~held], margins_MRN=material.margins_MRN[~held])
    truth = GroundTruth(material.masks_Mn[held], material.margins_MRN[held])
    return truth.score(BASELINES[name].score(fitted, setting))
