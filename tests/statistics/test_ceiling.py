"""The noise ceiling is what the noiseless function reaches, and its jackknife error is its spread.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from tests.statistics.figures import Spread
from tests.statistics.populations import Population, alike

if TYPE_CHECKING:
    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

M, N = 200, 10
NOISES = {"equally reliable targets": np.full(N, 1.0), "unequally reliable targets": np.geomspace(0.2, 3, N)}


@pytest.mark.parametrize("R", [2, 5])
@pytest.mark.parametrize("noises", NOISES)
def test_the_ceiling_is_what_the_noiseless_function_reaches(noises: str, R: int, draws: Draws, report: Report) -> None:
    population = Population.simulated(15, N=N, noise=0.0)
    rng = np.random.default_rng([16, R])
    reached, values, errors = [], [], []
    for _ in range(draws.count):
        rows_M = rng.integers(len(population.masks_Pn), size=M)
        noise_MRN = alike(rng, (M, R, N), own=0.5) * NOISES[noises]
        truth = GroundTruth(population.masks_Pn[rows_M], population.margins_PN[rows_M, None] + noise_MRN)
        reached.append(truth.score(population.effects_nN).lds)
        ceiling = truth.noise_ceiling()
        values.append(ceiling.value)
        errors.append(ceiling.std_error)
    bias_k = np.array(values) - np.array(reached)
    spread, bias_error = Spread.of(values), Spread.of(bias_k).value / np.sqrt(draws.count)
    ratio = np.mean(errors) / spread.value
    setting = f"{noises}, R {R}, M {M}, truth {np.mean(reached):.3f}"
    report(f"{setting}: estimate less truth", f"{bias_k.mean():+.4f} ± {bias_error:.4f}", "within 0.02")
    report(
        f"{setting}: error stated {np.mean(errors):.4f}, spread {spread.value:.4f}: ratio",
        f"{ratio:.3f} ± {ratio * spread.relative_error:.3f}",
        "0.75 to 1.25",
    )
    assert abs(bias_k.mean()) <= 0.02 + draws.slack * bias_error
    assert abs(ratio - 1) <= 0.25 + draws.slack * ratio * spread.relative_error
