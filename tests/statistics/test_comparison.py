"""Paired comparisons have the nominal error rate and more power than unpaired ones; rank intervals hold for whole boards.

Legend: M subsets, N targets, n training examples, k entries of a board.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import compare
from ldsboard.core.comparison import rank_intervals
from tests.statistics.figures import Share
from tests.statistics.populations import Population, correlated_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard import Result
    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

    Entries = list[NDArray[np.float64]]

pytestmark = pytest.mark.slow

BOARDS = {
    "all equal": [0.4] * 10,
    "some equal": [0.1, 0.3, 0.3, 0.4, 0.4, 0.4, 0.41, 0.42, 0.55, 0.7],
}


@cache
def rivals(levels: tuple[float, ...]) -> tuple[Population, Entries]:
    """Return a population, and score files with exactly these large-M values, whose errors are partly shared."""
    population = Population.simulated(11)
    rng = np.random.default_rng(12)
    common_nN = correlated_columns(rng, population.effects_nN.shape, own=0.2)
    noises = [0.8 * common_nN + 0.6 * correlated_columns(rng, common_nN.shape, own=0.2) for _ in levels]
    return population, [
        population.scores_at_level(noise_nN, level) for noise_nN, level in zip(noises, levels, strict=True)
    ]


def unpaired_p(a: Result, b: Result) -> float:
    z = (a.lds - b.lds) / np.hypot(a.std_error, b.std_error)
    return float(2 * stats.norm.sf(abs(z)))


@pytest.mark.parametrize("M", [50, 200])
def test_paired_comparison_has_nominal_error_rate_and_more_power_than_unpaired(
    M: int, draws: Draws, report: Report
) -> None:
    better = 0.4 + 0.8 / np.sqrt(M)
    population, (a_nN, same_nN, better_nN) = rivals((0.4, 0.4, better))
    rng = np.random.default_rng([13, M])
    truths = (population.sample(rng, M) for _ in range(draws.count))
    triples = [[truth.score(s) for s in (a_nN, same_nN, better_nN)] for truth in truths]
    false = Share.of([compare(a, b).p_value < 0.05 for a, b, _ in triples])
    power = Share.of([compare(a, c).p_value < 0.05 for a, _, c in triples])
    unpaired = Share.of([unpaired_p(a, c) < 0.05 for a, _, c in triples])
    report(f"M {M}, equal LDS of 0.4: found different", false, "3 to 7 %")
    report(f"M {M}, LDS 0.4 and {better:.2f}: found different", power, "20 points above the unpaired")
    report(f"M {M}, LDS 0.4 and {better:.2f}: found different, unpaired", unpaired)
    assert draws.lower_bar(0.03) <= false.value <= draws.upper_bar(0.07)
    assert power.value >= draws.lower_bar(unpaired.value + 0.2)


@pytest.mark.parametrize("M", [100, 200])
@pytest.mark.parametrize("board", BOARDS)
def test_all_rank_intervals_of_a_board_contain_true_ranks(board: str, M: int, draws: Draws, report: Report) -> None:
    # The true ranks of an entry range from 1 + (number of better entries) to k - (number of worse entries), so that equal
    # entries share their ranks. A board is correct if the interval of every entry contains this whole range.
    true_k = np.array(BOARDS[board])
    best_k = 1 + (true_k > true_k[:, None]).sum(axis=1)
    worst_k = true_k.size - (true_k < true_k[:, None]).sum(axis=1)
    population, entries = rivals(tuple(BOARDS[board]))
    rng = np.random.default_rng([14, M])
    holds, width = [], []
    for _ in range(draws.count):
        truth = population.sample(rng, M)
        results = [truth.score(scores_nN) for scores_nN in entries]
        intervals = rank_intervals([r.lds for r in results], np.array([r.influence for r in results]))
        low_k, high_k = np.array(intervals).T
        holds.append(bool(((low_k <= best_k) & (high_k >= worst_k)).all()))
        width.append(float((high_k - low_k + 1).mean()))
    covered = Share.of(holds)
    true_width = float((worst_k - best_k + 1).mean())
    setting = f"{true_k.size} entries, {board}, M {M}, {np.mean(width):.1f} ranks each, {true_width:.1f} with perfect knowledge"
    report(setting, covered, "at least 95 %")
    assert covered.value >= draws.lower_bar(0.95)
    # Intervals of all ranks would be correct too, so limit the width.
    assert np.mean(width) < true_width + 4
