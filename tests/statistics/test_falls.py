"""Falls of margins: intervals over targets cover the mean, and paired comparisons of entries have their level and power.

The simulated falls are as skewed as those of `digits-mlp` without 1 % of its examples: over targets a mean of 1.5 and a standard
deviation of 0.75, of which entries share a part, and over runs a standard deviation of 0.1 for each target and of 0.01 for all.

Legend: T targets, R runs, k entries.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.core.comparison import compare_influences
from ldsboard.counterfactual.falls import Falls, Summary
from ldsboard.counterfactual.removals import CONTROLS
from tests.statistics.figures import Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

MEAN, RUN, SEED, CONTROL = 1.5, 0.1, 0.01, 0.02
"""Mean fall; its standard deviation over runs, for each target and for all targets of a seed; and that over random controls."""


def simulate(rng: np.random.Generator, means: Sequence[float], T: int, R: int) -> list[Falls]:
    """Draw the falls of k entries with these mean falls over all targets, for new targets and new seeds."""
    common_T = rng.gamma(2, 0.5, T)
    seeds_R = SEED * rng.normal(size=R)
    falls = []
    for mean in means:
        level_T: NDArray[np.float64] = mean * (common_T + rng.gamma(2, 0.5, T)) / 2
        fall_TR = level_T[:, None] + RUN * rng.normal(size=(T, R)) + seeds_R
        control_DT = CONTROL * rng.normal(size=(CONTROLS, 1)) + RUN * rng.normal(size=(CONTROLS, T)) + seeds_R.mean()
        fall_T = fall_TR.mean(1)
        by_run, by_control = fall_TR.mean(0), control_DT.mean(1)
        falls.append(Falls(fall_T, fall_T, fall_T, fall_T, control_DT.mean(0), by_run, by_control))
    return falls


@pytest.mark.parametrize("R", [1, 3, 5])
@pytest.mark.parametrize("T", [50, 200, 600])
def test_interval_covers_mean_fall_and_random_scores_are_not_above_the_control(
    T: int, R: int, draws: Draws, report: Report
) -> None:
    rng = np.random.default_rng([81, T, R])
    covers, found, squares = [], [], []
    for _ in range(5 * draws.count):
        entry, random = (Summary.of(falls) for falls in simulate(rng, [MEAN, 0.0], T, R))
        covers.append(entry.confidence_interval[0] <= MEAN <= entry.confidence_interval[1])
        found.append(random.p_value < 0.05)
        squares.append(entry.std_error_runs**2)
    covered, false = Share.of(covers), Share.of(found)
    report(f"T {T}, R {R}: interval covers the mean fall", covered, "92 to 97 %")
    report(f"T {T}, R {R}: random scores differ from the control", false, "3 to 7 %")
    assert draws.lower_bar(0.92) <= covered.value <= draws.upper_bar(0.97)
    if R > 1:  # the error over runs; the bound is five standard errors of the mean of so many squares
        relative = np.mean(squares) / ((SEED**2 + RUN**2 / T) / R)
        assert relative == pytest.approx(1, abs=5 * math.sqrt(2 / (R - 1) / len(squares)))
    assert draws.lower_bar(0.03) <= false.value <= draws.upper_bar(0.07)


@pytest.mark.parametrize("R", [1, 3, 5])
@pytest.mark.parametrize("T", [50, 200, 600])
def test_paired_comparison_has_nominal_level_and_power(T: int, R: int, draws: Draws, report: Report) -> None:
    better = MEAN + 2 / np.sqrt(T)
    rng = np.random.default_rng([82, T, R])
    equal: list[bool] = []
    higher: list[bool] = []
    unpaired: list[bool] = []
    for _ in range(5 * draws.count):
        a, same, b = simulate(rng, [MEAN, MEAN, better], T, R)
        for found, other in ((equal, same), (higher, b)):
            difference = float(other.margin.mean() - a.margin.mean())
            found.append(
                compare_influences(difference, *(each.margin - each.margin.mean() for each in (other, a))).p_value
                < 0.05
            )
        error = math.hypot(Summary.of(a).std_error, Summary.of(b).std_error)
        unpaired.append(abs(float(b.margin.mean() - a.margin.mean())) > 1.96 * error)
    false, power, plain = Share.of(equal), Share.of(higher), Share.of(unpaired)
    report(f"T {T}, R {R}, equal falls: found different", false, "3 to 7 %")
    report(f"T {T}, R {R}, falls {MEAN} and {better:.2f}: found different", power, "15 points above the unpaired")
    report(f"T {T}, R {R}, falls {MEAN} and {better:.2f}: found different, unpaired", plain)
    assert draws.lower_bar(0.03) <= false.value <= draws.upper_bar(0.07)
    assert power.value >= draws.lower_bar(plain.value + 0.15)
