"""The reserve flags scores that were fitted to the answered subsets, and no others.

The z of an honest file has mean 0 and standard deviation 1, except for a bias below a quarter of a standard error: the LDS at few
subsets is slightly too low.

Legend: M subsets, n training examples, N targets, k draws.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core.reserve import ReserveCheck, check_reserve
from ldsboard.subsets import draw_reserve
from tests.statistics.figures import Share
from tests.statistics.populations import Population, correlated_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

    Floats = NDArray[np.float64]

DRAWS = 20
n, N = 600, 20


@cache
def world() -> Population:
    return Population.simulated(41, n=n, N=N, own=0.5)


def ridge(truth: GroundTruth) -> Floats:
    """Return scores that are fitted to subsets and margins by ridge regression, (n, N)."""
    centred_Mn = truth.masks_Mn - truth.masks_Mn.mean(axis=0)
    return np.asarray(
        centred_Mn.T @ np.linalg.solve(centred_Mn @ centred_Mn.T + np.eye(len(centred_Mn)), truth.margins_MN)
    )


@cache
def honest_files() -> dict[str, Floats]:
    """Return five files that depend on no hidden subset: scores of five kinds, one of them fitted to 200 public subsets."""
    rng, population = np.random.default_rng(42), world()
    noise_nN = correlated_columns(rng, (n, N), own=0.2)
    public = population.sample(rng, 200)
    kinds = population.scores_of_each_kind(rng)
    return {
        "unrelated": noise_nN,
        "LDS .3": population.scores_at_level(noise_nN, 0.3),
        "true effects": population.effects_nN,
        "two levels": kinds["two levels"].astype(np.float64),
        "fitted to public subsets": ridge(public),
    }


class Draw(NamedTuple):
    """One draw of hidden subsets: the answered ones and the reserve."""

    answered: GroundTruth
    reserve: GroundTruth

    @classmethod
    def of(cls, draw: int, hidden: int) -> Self:
        truth = world().sample(np.random.default_rng([43, hidden, draw]), hidden)
        in_reserve = np.zeros(hidden, dtype=np.bool_)
        in_reserve[list(draw_reserve(draw, hidden))] = True
        return cls(*(GroundTruth(truth.masks_Mn[rows], truth.margins_MN[rows]) for rows in (~in_reserve, in_reserve)))

    def check(self, scores_nN: Floats) -> ReserveCheck:
        results = (truth.score(scores_nN, threads=1) for truth in self)
        return check_reserve(*((found.lds, found.std_error, found.influence.size) for found in results))


@pytest.mark.parametrize("hidden", [250, 400])
def test_five_honest_files_are_never_flagged_in_twenty_draws_and_a_fitted_file_always(
    hidden: int, report: Report
) -> None:
    largest, smallest = -np.inf, np.inf
    for draw in range(DRAWS):
        drawn = Draw.of(draw, hidden)
        for name, scores_nN in honest_files().items():
            check = drawn.check(scores_nN)
            assert not check.is_flagged, (name, draw)
            largest = max(largest, check.z)
        check = drawn.check(ridge(drawn.answered))
        assert check.is_flagged, draw
        smallest = min(smallest, check.z)
    report(f"{hidden} hidden subsets, {DRAWS} draws: largest z of five honest files", f"{largest:.2f}", "3")
    report(f"{hidden} hidden subsets, {DRAWS} draws: smallest z of a fitted file", f"{smallest:.2f}", "3")


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [125, 250, 800])
def test_honest_files_are_flagged_at_the_level_of_student_s_t(hidden: int, draws: Draws, report: Report) -> None:
    found = {name: np.zeros(draws.count // 4) for name in honest_files()}
    for draw in range(draws.count // 4):
        drawn = Draw.of(draw, hidden)
        for name, scores_nN in honest_files().items():
            found[name][draw] = drawn.check(scores_nN).z
    for name, z_k in found.items():
        error = z_k.std(ddof=1) / np.sqrt(z_k.size)
        setting = f"{name}, {hidden} hidden subsets"
        report(f"{setting}: mean of z", f"{z_k.mean():+.2f} ± {error:.2f}", "-.25 to .25")
        assert abs(z_k.mean()) < 0.25 + 3 * error
    # The files share the draws, so that the Monte Carlo error is that of the number of draws at most.
    flagged = Share.of(np.array(list(found.values())) > 3)
    report(f"honest files flagged, {hidden} hidden subsets", flagged, "0.31 %")
    assert flagged.value <= 0.0031 + 3 * np.sqrt(0.0031 / (draws.count // 4))
