"""The list of baselines, with the settings that were tried in tuning.

Settings do not depend on the scale of models or data, so one frozen setting of each baseline serves every benchmark.
docs/explanation/baselines.md has the results of tuning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.baselines import chance, curvature, datamodel, similarity, tracin, trak

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material


@dataclass(frozen=True)
class Baseline:
    """A method, the number of trained models that the method uses, the settings tried in tuning, and the frozen setting."""

    score: Callable[[Material, Any], NDArray[np.float32]]
    models: Callable[[Material], int]
    settings: tuple[Any, ...]
    frozen: Any


def _no_models(_material: Material) -> int:
    return 0


def _one_model(_material: Material) -> int:
    return 1


def _reference_models(material: Material) -> int:
    return len(material.models)


def _public_models(material: Material) -> int:
    M, R = material.margins_MRN.shape[:2]
    return int(M * R)


BASELINES: dict[str, Baseline] = {
    "random": Baseline(chance.random, _no_models, (chance.SEED,), chance.SEED),
    "similarity": Baseline(similarity.similarity, _no_models, (None,), None),
    "grad-dot": Baseline(tracin.grad_dot, _one_model, (tracin.MODEL,), tracin.MODEL),
    "trak": Baseline(trak.trak, _reference_models, (0.5, 1.0, 2.0, 3.0, 4.0, 6.0), trak.DAMPING),
    "ek-fac": Baseline(curvature.ek_fac, _reference_models, (0.1, 0.2, 0.5, 1.0, 2.0), curvature.DAMPING),
    "datamodel": Baseline(datamodel.datamodel, _public_models, (3.0, 30.0, 300.0, 3000.0, 30000.0), datamodel.RIDGE),
}
