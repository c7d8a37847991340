"""Tune a baseline: score each of its settings on public subsets to which the baseline was not fitted.

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
"""The baseline that needs cross-validation, because its scores are fitted to the public margins."""


@dataclass(frozen=True)
class Trial:
    """The result of one setting of a baseline on public subsets.

    Attributes
    ----------
    setting
        The setting.
    lds
        LDS on the public subsets; after cross-validation, the mean of the LDS over folds.
    interval
        95 % interval of `lds`; after cross-validation, `lds` plus or minus 1.96 standard errors.
    z_random
        `ldsboard.Result.z_random`; after cross-validation, the sum of this number over folds, divided by the square root of the
        number of folds.
    """

    setting: Any
    lds: float
    interval: tuple[float, float]
    z_random: float


def tune(name: str, material: Material) -> Iterator[Trial]:
    """Compute and evaluate the scores of every setting of a baseline on the public subsets; yield a trial for each setting.

    The baseline `FITTED` is cross-validated in 5 folds, because its scores are fitted to the margins of these subsets.
    """
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
    """Fit a baseline without the subsets `fold`, `fold` + 5, …, and return the result on these left-out subsets."""
    held_out = np.arange(len(material.masks_Mn)) % FOLDS == fold
    fitted = replace(material, masks_Mn=material.masks_Mn[~held_out], margins_MRN=material.margins_MRN[~held_out])
    truth = GroundTruth(material.masks_Mn[held_out], material.margins_MRN[held_out])
    return truth.score(BASELINES[name].score(fitted, setting))
