"""The distance from chance (z_random): its spread equals that of permutations, also with few subsets.

Legend: M subsets, n training examples, N targets, k draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core.chance import RANDOM_P
from tests.statistics.figures import Share, Spread, share_error
from tests.statistics.populations import Population, correlated_columns, unit_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = pytest.mark.slow

PERMUTATIONS = 3000


def files(rng: np.random.Generator, n: int, N: int) -> dict[str, NDArray[np.float64]]:
    """Return one score file of each sort for which the distance from chance is difficult to compute."""
    return {
        "few values": rng.integers(-1, 2, size=(n, N)).astype(np.float64),
        "heavy tails": rng.standard_cauchy(size=(n, N)),
        "95 % zeros": np.where(rng.random((n, N)) < 0.05, rng.normal(size=(n, N)), 0.0),
        "one vector, random signs": rng.normal(size=(n, 1)) * rng.choice([-1.0, 1.0], size=N),
    }


@pytest.mark.parametrize("sort", ["few values", "heavy tails", "95 % zeros", "one vector, random signs"])
def test_chance_spread_equals_spread_of_3000_permutations(sort: str, report: Report) -> None:
    M, n, N = 200, 100, 30
    population = Population.simulated(17, n=n, N=N)
    rng = np.random.default_rng(18)
    rows_M = rng.integers(len(population.masks_Pn), size=M)
    masks_Mn, margins_MN = population.masks_Pn[rows_M], population.margins_PN[rows_M]
    scores_nN = files(rng, n, N)[sort]
    result = GroundTruth(masks_Mn, margins_MN).score(scores_nN)
    products_MM = unit_ranks((masks_Mn @ scores_nN).T).T @ unit_ranks(margins_MN.T) / N
    assert np.trace(products_MM) == pytest.approx(result.lds, abs=1e-9)
    orders = rng.permuted(np.tile(np.arange(M), (PERMUTATIONS, 1)), axis=1)
    spread = Spread.of(products_MM[np.arange(M), orders].sum(axis=1))
    ratio = result.lds / result.z_random / spread.value
    report(f"{sort}, M {M}, N {N}: ratio", f"{ratio:.3f} ± {ratio * spread.relative_error:.3f}", "0.95 to 1.05")
    assert abs(ratio - 1) <= 0.05


FEW = [8, 12, 20, 40, 63]
"""Sizes for which the p-value comes from permutations: of all permutations for 8, of random ones for the others."""


@pytest.mark.parametrize("M", FEW)
@pytest.mark.parametrize("N", [1, 20])
def test_few_unrelated_subsets_count_as_random(M: int, N: int, draws: Draws, report: Report) -> None:
    # The margins are shuffled: random scores would have a true LDS of order 1 / sqrt(n), which no test of chance covers.
    population = Population.simulated(31, N=N)
    rng = np.random.default_rng([32, M, N])
    found = []
    for _ in range(draws.count):
        rows_M = rng.integers(len(population.masks_Pn), size=(2, M))
        truth = GroundTruth(population.masks_Pn[rows_M[0]], population.margins_PN[rows_M[1]])
        found.append(truth.score(population.effects_nN))
    alarms = Share.of([result.p_random <= RANDOM_P for result in found])
    normal = Share.of([abs(result.z_random) >= 3 for result in found])
    bar = RANDOM_P + 3 * share_error(RANDOM_P, draws.count)
    report(f"unrelated margins, N {N}, M {M}: not reported as random", alarms, f"at most {bar:.2%}")
    report(f"unrelated margins, N {N}, M {M}: by z_random instead", normal)
    assert alarms.value <= bar


@pytest.mark.parametrize(("M", "level"), [(8, 0.75), (12, 0.6), (20, 0.5), (40, 0.4)])
def test_few_subsets_find_good_scores(M: int, level: float, draws: Draws, report: Report) -> None:
    population = Population.simulated(33)
    rng = np.random.default_rng([34, M])
    noise_nN = correlated_columns(rng, population.effects_nN.shape, own=0.2)
    scores_nN = population.scores_at_level(noise_nN, level)
    found = [population.sample(rng, M).score(scores_nN) for _ in range(draws.count)]
    power = Share.of([result.p_random <= RANDOM_P for result in found])
    normal = Share.of([abs(result.z_random) >= 3 for result in found])
    report(f"LDS {level}, M {M}: distinguished from random scores", power, "more than by z_random")
    report(f"LDS {level}, M {M}: by z_random instead", normal)
    assert power.value >= normal.value
