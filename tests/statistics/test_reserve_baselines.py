"""On the real models of fashion5k-mlp, the reserve flags no baseline, and flags a datamodel of the answered subsets.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.cli.demo import SHIPPED
from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from ldsboard.core.reserve import check_reserve
from ldsboard.subsets import draw_reserve
from worker.baselines.datamodel import RIDGE, ridge
from worker.baselines.material import Material
from worker.baselines.registry import BASELINES

if TYPE_CHECKING:
    from tests.statistics.conftest import Report

pytestmark = pytest.mark.slow

DRAWS = 20
HONEST = ("random", "similarity", "grad-dot", "datamodel", "trak")
"""The baselines that take less than a minute; all read the public subsets only."""


FITTED_DRAWS = 2
"""Number of draws with a fitted file; each fit takes seconds."""


def test_five_baselines_are_never_flagged_and_a_fitted_datamodel_is(report: Report) -> None:
    bundle, material = Bundle.open(SHIPPED / "fashion5k-mlp"), Material.open(SHIPPED / "fashion5k-mlp")
    rows = slice(*bundle.manifest.ranking) if bundle.manifest.ranking else slice(0)
    masks_Mn, margins_MRN = bundle.masks_Mn[rows], bundle.margins_MRN[rows]
    files = {name: BASELINES[name].score(material, BASELINES[name].frozen) for name in HONEST}
    found: dict[str, list[float]] = {name: [] for name in (*HONEST, "fitted")}
    for draw in range(DRAWS):
        order_M = np.random.default_rng([45, draw]).permutation(len(masks_Mn))
        reserve = draw_reserve(draw, len(masks_Mn))
        order_M = np.concatenate([np.delete(order_M, reserve), order_M[list(reserve)]])
        truth, answered = GroundTruth(masks_Mn[order_M], margins_MRN[order_M]), len(order_M) - len(reserve)
        splits = {"answered": slice(0, answered), "reserve": slice(answered, None)}
        own = {}
        if draw < FITTED_DRAWS:
            own["fitted"] = ridge(truth.masks_Mn[:answered], truth.margins_MN[:answered], RIDGE)
        for name, scores_nN in (files | own).items():
            results = truth.score(scores_nN, splits).values()
            check = check_reserve(*((part.lds, part.std_error, part.influence.size) for part in results))
            found[name].append(check.z)
            assert check.is_flagged == (name == "fitted"), (name, draw, check)
    for name, z in found.items():
        bar = "above 3" if name == "fitted" else "at most 3"
        report(f"{name}, {len(z)} draws: z", f"{min(z):+.2f} to {max(z):+.2f}", bar)
