"""The stated interval covers the large-M value, and the interval for fresh targets covers the value over all targets.

Legend: M subsets, N targets, n training examples, k draws.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tests.statistics.figures import Intervals, share_error
from tests.statistics.populations import Population, correlated_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ldsboard import Result
    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = pytest.mark.slow

SIZES = [20, 50, 200]  # further sizes: test_levels.py
LEVELS = [0.0, 0.3, 0.8]
# Number of targets, and the share of variance that is independent between targets. With many independent targets, the standard
# error is small and the bias dominates.
WORLDS = {"1 target": (1, 0.2), "20 targets alike": (20, 0.2), "50 unrelated targets": (50, 1.0)}
BAR = 0.93 - 2 * share_error(0.93, 2000)


def stated(results: list[Result]) -> Intervals:
    low_k, high_k = np.array([result.confidence_interval for result in results]).T
    return Intervals(low_k, high_k)


def plain(results: list[Result]) -> Intervals:
    M = results[0].influence.size
    return Intervals.around([result.lds for result in results], [result.std_error for result in results], M - 1)


@cache
def population_with_scores(
    seed: int, N: int, own: float, uneven: float = 0.0
) -> tuple[Population, list[NDArray[np.float64]]]:
    """Return a population and scores at each of LEVELS; with `uneven` > 0 the noise differs between targets."""
    population = Population.simulated(seed, N=N, own=own)
    rng = np.random.default_rng([seed, 1])
    noise_nN = correlated_columns(rng, population.effects_nN.shape, own) * np.exp(uneven * rng.normal(size=N))
    return population, [population.scores_at_level(noise_nN, level) for level in LEVELS]


@pytest.mark.parametrize("M", SIZES)
@pytest.mark.parametrize("targets", WORLDS)
@pytest.mark.usefixtures("without_permutations")
def test_stated_interval_covers_large_M_value(targets: str, M: int, draws: Draws, report: Report) -> None:
    population, scores = population_with_scores(5, *WORLDS[targets])
    rng = np.random.default_rng([6, M])
    truths = (population.sample(rng, M) for _ in range(draws.count))
    columns = zip(*([truth.score(scores_nN) for scores_nN in scores] for truth in truths), strict=True)
    for level, column in zip(LEVELS, columns, strict=True):
        covered = stated(list(column)).cover(level)
        setting = f"{targets}, LDS {level}, M {M}"
        report(setting, covered, f"at least {BAR:.1%}")
        report(f"{setting}: plain interval instead", plain(list(column)).cover(level))
        assert covered.value >= draws.lower_bar(BAR)


@pytest.mark.usefixtures("without_permutations")
@pytest.mark.parametrize(("fresh", "M"), [(20, 20), (20, 50), (20, 100), (20, 200), (100, 200)])
def test_interval_for_fresh_targets_covers_value_over_all_targets(
    fresh: int, M: int, draws: Draws, report: Report
) -> None:
    for level, results in zip(LEVELS, fresh_results(fresh, M, draws.count), strict=True):
        covered = for_fresh_targets(results, M - 1).cover(level)
        report(f"LDS {level}, M {M}, {fresh} fresh targets", covered, f"at least {BAR:.1%}")
        report(f"LDS {level}, M {M}, {fresh} fresh targets: stated interval instead", stated(results).cover(level))
        assert covered.value >= draws.lower_bar(BAR)


def test_few_fresh_targets_require_N_minus_1_degrees_of_freedom(draws: Draws, report: Report) -> None:
    M, fresh = 200, 5
    for level, results in zip(LEVELS, fresh_results(fresh, M, draws.count), strict=True):
        few, many = (for_fresh_targets(results, degrees).cover(level) for degrees in (fresh - 1, M - 1))
        report(f"LDS {level}, M {M}, {fresh} fresh targets, t of N - 1", few, f"at least {BAR:.1%}")
        report(f"LDS {level}, M {M}, {fresh} fresh targets, t of M - 1", many)
        assert few.value >= draws.lower_bar(BAR)


def fresh_results(fresh: int, M: int, count: int) -> Iterator[list[Result]]:
    """Yield for each of LEVELS the results of `count` draws of M subsets and `fresh` targets with very uneven noise."""
    population, scores = population_with_scores(7, 100, 0.8, uneven=1.0)
    rng = np.random.default_rng([8, M, fresh])
    columns_kN = rng.integers(population.margins_PN.shape[1], size=(count, fresh))
    truths = ((population.sample(rng, M, columns_N), columns_N) for columns_N in columns_kN)
    rows = ([truth.score(scores_nN[:, columns_N]) for scores_nN in scores] for truth, columns_N in truths)
    return map(list, zip(*rows, strict=True))


def for_fresh_targets(results: list[Result], degrees: int) -> Intervals:
    """Return the stated intervals, with the standard error for new targets instead of the standard error over subsets."""
    subsets = stats.t.ppf(0.975, results[0].influence.size - 1) * np.array([result.std_error for result in results])
    both = stats.t.ppf(0.975, degrees) * np.array([result.std_error_new_targets for result in results])
    return stated(results).widened(both - subsets)
