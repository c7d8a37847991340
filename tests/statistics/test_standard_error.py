"""Intervals of the standard error cover the expected LDS at the same M, and the error agrees with a re-ranking bootstrap.

Legend: M subsets, N targets, k draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from tests.statistics.figures import Intervals, Spread
from tests.statistics.populations import Population

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = pytest.mark.slow

KINDS = ["continuous", "two levels", "three levels", "95 % zeros"]


@pytest.mark.parametrize("M", [50, 200])
def test_plain_interval_covers_expected_lds_at_same_M(M: int, draws: Draws, report: Report) -> None:
    population = Population.simulated(1, own=0.1)
    scores = population.scores_of_each_kind(np.random.default_rng(2))
    rng = np.random.default_rng([3, M])
    truths = (population.sample(rng, M) for _ in range(draws.count))
    results = [[truth.score(scores[kind]) for kind in KINDS] for truth in truths]
    for kind, column in zip(KINDS, zip(*results, strict=True), strict=True):
        lds_k = np.array([result.lds for result in column])
        covered = Intervals.around(lds_k, [result.std_error for result in column], M - 1).cover(lds_k.mean())
        N = column[0].per_target.size
        over_targets_k = [result.per_target.std(ddof=1) / np.sqrt(N) for result in column]
        naive = Intervals.around(lds_k, over_targets_k, N - 1).cover(lds_k.mean())
        setting = f"{kind}, M {M}, LDS {lds_k.mean():.2f}"
        report(setting, covered, "92 to 97.5 %")
        report(f"{setting}: interval over targets instead", naive, "below 60 %")
        assert draws.lower_bar(0.92) <= covered.value <= draws.upper_bar(0.975)
        assert naive.value < draws.upper_bar(0.6)


def problems(rng: np.random.Generator, count: int) -> Iterator[tuple[Population, dict[str, NDArray[np.float64]]]]:
    """Yield populations, each with its scores by kind."""
    for seed in range(count):
        population = Population.simulated(seed)
        yield population, population.scores_of_each_kind(rng)
        # With two levels of unequal size, the spread of the ranks varies much between samples.
        population = Population.simulated(seed, n=10, noise=0.1, alpha=0.2)
        yield population, {"two levels, one subset of five": population.scores_of_each_kind(rng)["two levels"]}


def test_standard_error_equals_bootstrap_with_new_ranks(draws: Draws, report: Report) -> None:
    M, count = 200, 8 if draws.slack else 20
    rng = np.random.default_rng(4)
    ratios: dict[str, list[float]] = {}
    for population, scores in problems(rng, count):
        rows_M = rng.integers(len(population.masks_Pn), size=M)
        masks_Mn, margins_MN = population.masks_Pn[rows_M], population.margins_PN[rows_M]
        resamples_kM = rng.integers(M, size=(max(draws.count // 4, 60), M))
        resampled_truths = [GroundTruth(masks_Mn[resample_M], margins_MN[resample_M]) for resample_M in resamples_kM]
        truth = GroundTruth(masks_Mn, margins_MN)
        for kind, scores_nN in scores.items():
            spread = Spread.of([resampled.score(scores_nN).lds for resampled in resampled_truths])
            ratios.setdefault(kind, []).append(truth.score(scores_nN).std_error / spread.value)
    for kind, found in ratios.items():
        error = np.std(found, ddof=1) / np.sqrt(count)
        report(f"{kind}, M {M}, {count} problems: ratio", f"{np.mean(found):.3f} ± {error:.3f}", "0.9 to 1.1")
        assert abs(np.mean(found) - 1) <= 0.1 + draws.slack * error
