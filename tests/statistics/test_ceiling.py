"""The noise ceiling equals the LDS of the noiseless function, its jackknife error is at least its spread, and known cases fail.

With few subsets and noisy runs, the mean of square roots is too low; the jackknife corrects this bias.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core import ceiling as core
from ldsboard.core.ceiling import noise_ceiling
from tests.ceilings import uncorrected_ceiling
from tests.statistics.figures import Spread
from tests.statistics.populations import Population, correlated_columns, subsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_permutations")]

M, N = 200, 10
NOISES = {"equally reliable targets": np.full(N, 1.0), "unequally reliable targets": np.geomspace(0.2, 3, N)}


@pytest.mark.parametrize("R", [2, 5])
@pytest.mark.parametrize("noises", NOISES)
def test_ceiling_equals_lds_of_noiseless_function(noises: str, R: int, draws: Draws, report: Report) -> None:
    population = Population.simulated(15, N=N, noise=0.0)
    rng = np.random.default_rng([16, R])
    reached, values, errors = [], [], []
    for _ in range(draws.count):
        rows_M = rng.integers(len(population.masks_Pn), size=M)
        noise_MRN = correlated_columns(rng, (M, R, N), own=0.5) * NOISES[noises]
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


BIAS_LIMITS = {1.0: 0.02, 2.0: 0.02, 3.0: 0.05}
"""For each standard deviation of the noise of a run, largest accepted bias of the corrected ceiling with 64 or 100 subsets."""


@pytest.mark.parametrize("M", [20, 64, 100])
@pytest.mark.parametrize("noise", BIAS_LIMITS)
def test_correction_reduces_bias_of_few_subsets_and_noisy_runs(
    noise: float, M: int, draws: Draws, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "MIN_CEILING_SUBSETS", 20)
    population = Population.simulated(15, N=N, noise=0.0)
    rng = np.random.default_rng([17, M])
    reached, plain, values, errors = [], [], [], []
    for _ in range(draws.count):
        rows_M = rng.integers(len(population.masks_Pn), size=M)
        margins_MRN = population.margins_PN[rows_M, None] + noise * rng.normal(size=(M, 2, N))
        reached.append(GroundTruth(population.masks_Pn[rows_M], margins_MRN).score(population.effects_nN).lds)
        plain.append(uncorrected_ceiling(margins_MRN))
        ceiling = noise_ceiling(margins_MRN)
        values.append(ceiling.value)
        errors.append(ceiling.std_error)
    before_k, after_k = np.subtract(plain, reached), np.subtract(values, reached)
    before, after = before_k.mean(), after_k.mean()
    before_error, after_error = (Spread.of(bias_k).value / np.sqrt(draws.count) for bias_k in (before_k, after_k))
    spread, ratio = Spread.of(values), np.mean(errors) / Spread.of(values).value
    bar = f"within {BIAS_LIMITS[noise]}" if M > 20 else "more than 0.02 off"
    setting = f"R 2, M {M}, noise {noise:g}, truth {np.mean(reached):.3f}"
    report(f"{setting}: uncorrected estimate less truth", f"{before:+.4f} ± {before_error:.4f}")
    report(f"{setting}: corrected estimate less truth", f"{after:+.4f} ± {after_error:.4f}", bar)
    report(f"{setting}: spread of uncorrected, corrected", f"{Spread.of(plain).value:.3f}, {spread.value:.3f}")
    figure = f"{ratio:.3f} ± {ratio * spread.relative_error:.3f}"
    report(f"{setting}: error stated / spread of corrected", figure, "0.85 to 1.6" if M > 20 else "")
    if M == 20:  # the reason why the ceiling is withheld
        assert abs(after) >= 0.02 - draws.slack * after_error
        return
    assert abs(after) <= BIAS_LIMITS[noise] + draws.slack * after_error
    slack = draws.slack * ratio * spread.relative_error
    assert 0.85 - slack <= ratio <= 1.6 + slack
    # The uncorrected estimate of noisy runs is too low. The correction raises it, but hardly for very noisy runs.
    least_gain = {1.0: -np.inf, 2.0: 0.015, 3.0: -0.005}[noise]
    gain_k = np.subtract(values, plain)
    assert gain_k.mean() >= least_gain - draws.slack * Spread.of(gain_k).value / np.sqrt(draws.count)
    assert noise == 1 or before <= -0.02 + draws.slack * before_error


TruthAndEffects = tuple[GroundTruth, "NDArray[np.float64]"]


def outlying_runs(rng: np.random.Generator, population: Population) -> TruthAndEffects:
    """Return ground truth and effects; one run of ten is off by about 30 standard deviations, the others agree closely."""
    rows_M = rng.integers(len(population.masks_Pn), size=M)
    size_MR = np.where(rng.random((M, 5)) < 0.1, 30.0, 0.1)
    noise_MRN = size_MR[:, :, None] * correlated_columns(rng, (M, 5, N), own=0.5)
    truth = GroundTruth(population.masks_Pn[rows_M], population.margins_PN[rows_M, None] + noise_MRN)
    return truth, population.effects_nN


def rare_effect(rng: np.random.Generator, population: Population) -> TruthAndEffects:
    """Return ground truth and effects; only the first example has an effect, and one subset of twenty contains it."""
    effects_nN = np.zeros_like(population.effects_nN)
    effects_nN[0] = 10.0
    masks_Mn = subsets(rng, M, len(effects_nN), alpha=0.05)
    return GroundTruth(
        masks_Mn, (masks_Mn @ effects_nN)[:, None] + correlated_columns(rng, (M, 5, N), own=0.5)
    ), effects_nN


LIMITS = {"one run of ten an outlier": (outlying_runs, 0.4), "one subset of twenty differs": (rare_effect, 0.2)}


@pytest.mark.parametrize("limit", LIMITS)
def test_ceiling_is_too_high_in_documented_cases(limit: str, draws: Draws, report: Report) -> None:
    # A known limitation. If this test fails because the ceiling has improved, update the guide.
    make, bar = LIMITS[limit]
    population = Population.simulated(15, N=N, noise=0.0)
    rng = np.random.default_rng(20)
    count = draws.count // 4
    worlds = (make(rng, population) for _ in range(count))
    found = [(truth.noise_ceiling().value, truth.score(effects_nN).lds) for truth, effects_nN in worlds]
    value, reached = np.mean(found, axis=0)
    value_error, reached_error = np.std(found, axis=0, ddof=1) / np.sqrt(count)
    report(f"{limit}, R 5, M {M}: estimate", f"{value:.4f} ± {value_error:.4f}")
    report(f"{limit}, R 5, M {M}: truth", f"{reached:.4f} ± {reached_error:.4f}", f"{bar} less")
    assert value - reached > bar
