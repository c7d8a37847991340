"""The list of baselines, and what each of them was tuned over.

Settings are free of scale, so that one, frozen, serves every benchmark: docs/baselines.md has the trials.
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
    """A method, the number of trained models that it reads, the settings it was tuned over, and the one that is frozen."""

    score: Callable[[Material, Any], NDArray[np.float32]]
    models: Callable[[Material], int]
    settings: tuple[Any, ...]
    frozen: Any


def _none(_material: Material) -> int:
    return 0


def _one(_material: Material) -> int:
    return 1


def _references(material: Material) -> int:
    return len(material.models)


def _public(material: Material) -> int:
    M, R = material.margins_MRN.shape[:2]
    return int(M * R)


BASELINES: dict[str, Baseline] = {
    "random": Baseline(chance.random, _none, (chance.SEED,), chance.SEED),
    "similarity": Baseline(similarity.similarity, _none, (None,), None),
    "grad-dot": Baseline(tracin.grad_dot, _one, (tracin.MODEL,), tracin.MODEL),
    "trak": Baseline(trak.trak, _references, (0.5, 1.0, 2.0, 3.0, 4.0, 6.0), trak.DAMPING),
    "ek-fac": Baseline(curvature.ek_fac, _references, (0.1, 0.2, 0.5, 1.0, 2.0), curvature.DAMPING),
    "datamodel": Baseline(datamodel.datamodel, _public, (3.0, 30.0, 300.0, 3000.0, 30000.0), datamodel.RIDGE),
}
