"""Each statistic that pages show holds its level with 8 to 800 subsets, or the product withholds it.

Legend: M subsets, N targets, n training examples, R runs, P subsets of the population, k draws.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from app.benchmarks.catalog import FEWEST_RANKED
from ldsboard import GroundTruth, compare
from ldsboard.core.board import rank_board
from ldsboard.core.ceiling import GROUPS, can_know_ceiling, noise_ceiling, share_of_ceiling
from ldsboard.core.chance import RANDOM_P
from ldsboard.core.significance import FEW_SUBSETS, half_width, standard_error
from tests.statistics.figures import Mean, Share, share_error
from tests.statistics.levels import SIZES, WITHHELD
from tests.statistics.populations import Population, correlated_columns, unit_ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from ldsboard import Result
    from tests.statistics.conftest import ReportLevel
    from tests.statistics.figures import Draws

    Floats = NDArray[np.float64]

WORLDS = {"1 target": (1, 0.2), "20 targets alike": (20, 0.2), "50 unrelated targets": (50, 1.0)}
"""Number of targets, and the share of variance that is independent between targets."""

LEVELS = [0.0, 0.3, 0.8]
"""The large-M values of the files whose interval is examined."""

EQUALS = 6
"""Number of files with the large-M value .4 in each world: a board of equal entries."""

PERMUTATIONS = 200
"""Number of permutations of each draw with many subsets."""


def slow_if_large(names: Iterable[str]) -> list[Any]:
    """Return the names as parameters; those of 50 targets are left out of the fast tests."""
    return [pytest.param(name, marks=pytest.mark.slow if name.startswith("50") else ()) for name in names]


@cache
def world(name: str) -> tuple[Population, list[Floats]]:
    """Return a population; files at each of LEVELS, then EQUALS files at .4, whose errors are partly shared."""
    N, own = WORLDS[name]
    population = Population.simulated(41, N=N, own=own)
    rng = np.random.default_rng(42)
    common_nN, *noises = (correlated_columns(rng, population.effects_nN.shape, own) for _ in range(EQUALS + 2))
    files = [population.scores_at_level(common_nN, level) for level in LEVELS]
    mixed = [0.8 * common_nN + 0.6 * noise_nN for noise_nN in noises[:EQUALS]]
    return population, files + [population.scores_at_level(noise_nN, 0.4) for noise_nN in mixed]


@pytest.mark.parametrize("M", SIZES)
@pytest.mark.parametrize("name", slow_if_large(WORLDS))
@pytest.mark.usefixtures("without_permutations")
def test_intervals_comparisons_and_ranks_hold(name: str, M: int, few: Draws, report_level: ReportLevel) -> None:
    population, files = world(name)
    rng = np.random.default_rng([43, M])
    truths = (population.sample(rng, M) for _ in range(few.count))
    found = [[truth.score(scores_nN) for scores_nN in files] for truth in truths]
    for level, results in zip(LEVELS, zip(*found, strict=True), strict=False):
        low_k, high_k = np.array([result.confidence_interval for result in results]).T
        covered = Share.of((low_k <= level) & (level <= high_k))
        report_level("interval contains the large-M value", f"{name}, LDS {level}", M, covered, "at least 93 %")
        assert covered.value >= few.lower_bar(0.93)
    boards = [results[len(LEVELS) :] for results in found]
    pairs_k = [np.mean([compare(a, b).p_value < 0.05 for a, b in combinations(board, 2)]) for board in boards]
    pairs = Mean.of(pairs_k, as_share=True)
    report_level("two equal files are found different at 5 %", name, M, pairs, "at most 7.5 %")
    assert pairs.value <= 0.075 + few.slack * pairs.error
    check_ranks(name, M, boards, few, report_level)
    statistic, shown = "difference of two equal files is above the smallest visible one", M < FEWEST_RANKED
    visible = Mean.of([visible_share(board) for board in boards], as_share=True)
    report_level(statistic, name, M, visible if shown else WITHHELD, "at most 7.5 %")
    assert not shown or visible.value <= 0.075 + few.slack * visible.error


def check_ranks(name: str, M: int, boards: list[list[Result]], few: Draws, report_level: ReportLevel) -> None:
    """Check boards of equal entries: any rank but 1 to k, and any separation from the first, is wrong."""
    wrong, separated = [], []
    for board in boards:
        lds_k = [result.lds for result in board]
        influence_kM = np.array([result.influence for result in board])
        standings = rank_board(lds_k, influence_kM, np.ones(len(board), dtype=np.bool_), int(np.argmax(lds_k)))
        wrong.append(any((low, high) != (1, len(board)) for low, high, _ in standings))
        separated.append(any(standing.separable_from_first for standing in standings))
    shown = M >= FEWEST_RANKED
    rows = {
        "any rank interval of a board is wrong": (Share.of(wrong), 0.05),
        "any entry is wrongly separable from the first": (Share.of(separated), 0.06),
    }
    for statistic, (share, bar) in rows.items():
        report_level(
            statistic, f"{name}, {EQUALS} equal entries", M, share if shown else WITHHELD, f"at most {bar:.0%}"
        )
        assert not shown or share.value <= few.upper_bar(bar)


def visible_share(board: list[Result]) -> float:
    """Return the share of pairs whose difference is above the smallest visible difference that the page states."""
    pairs = list(combinations(board, 2))
    widths = [half_width(standard_error(a.influence - b.influence), a.influence.size) for a, b in pairs]
    return float(np.mean([abs(a.lds - b.lds) > np.median(widths) for a, b in pairs]))


@pytest.mark.parametrize("M", SIZES)
@pytest.mark.parametrize("name", slow_if_large(WORLDS))
def test_unrelated_scores_count_as_random(name: str, M: int, few: Draws, report_level: ReportLevel) -> None:
    population, files = world(name)
    rng = np.random.default_rng([44, M])
    alarms, significant = [], []
    for _ in range(few.count):
        rows_M = rng.integers(len(population.masks_Pn), size=(2, M))
        masks_Mn, margins_MN = population.masks_Pn[rows_M[0]], population.margins_PN[rows_M[1]]
        result = GroundTruth(masks_Mn, margins_MN).score(files[-1])
        significant.append(result.target_summary.share_p05)
        if M < FEW_SUBSETS:
            alarms.append(float(result.p_random <= RANDOM_P))
        else:  # every permutation has the same standard deviation, so many permutations of one draw are examined at once
            products_MM = unit_ranks((masks_Mn @ files[-1]).T).T @ unit_ranks(margins_MN.T) / len(margins_MN.T)
            orders = rng.permuted(np.tile(np.arange(M), (PERMUTATIONS, 1)), axis=1)
            limit = 3 * result.lds / result.z_random
            alarms.append(float(np.mean(np.abs(products_MM[np.arange(M), orders].sum(axis=1)) >= limit)))
    alarm, share = Mean.of(alarms, as_share=True), Mean.of(significant, as_share=True)
    report_level("unrelated scores are not reported as random", name, M, alarm, "about .27 %, at most .5 %")
    report_level("targets of unrelated scores with p < .05", name, M, share, "4 to 6 %")
    assert alarm.value <= 0.005 + few.slack * Share(alarm.value, len(alarms)).error
    assert abs(share.value - 0.05) <= 0.01 + few.slack * share_error(0.05, few.count)


@cache
def uneven_world() -> tuple[Population, list[Floats]]:
    """Return a population of 100 targets, and files at each of LEVELS whose noise differs between targets."""
    population = Population.simulated(45, N=100, own=0.8)
    rng = np.random.default_rng(45)
    noise_nN = correlated_columns(rng, population.effects_nN.shape, 0.8) * np.exp(rng.normal(size=100))
    return population, [population.scores_at_level(noise_nN, level) for level in LEVELS]


@pytest.mark.slow
@pytest.mark.parametrize("M", SIZES)
@pytest.mark.usefixtures("without_permutations")
def test_error_for_new_targets_holds(M: int, few: Draws, report_level: ReportLevel) -> None:
    drawn, (population, files) = 20, uneven_world()
    rng = np.random.default_rng([46, M])
    covered: list[list[bool]] = [[] for _ in LEVELS]
    for _ in range(few.count):
        columns = rng.integers(population.margins_PN.shape[1], size=drawn)
        truth = population.sample(rng, M, columns)
        for level, scores_nN, held in zip(LEVELS, files, covered, strict=True):
            result = truth.score(scores_nN[:, columns])
            assert result.std_error_new_targets >= result.std_error
            wider = stats.t.ppf(0.975, min(M, drawn) - 1) * result.std_error_new_targets
            wider -= half_width(result.std_error, M)
            low, high = result.confidence_interval
            held.append(low - wider <= level <= high + wider)
    for level, held in zip(LEVELS, covered, strict=True):
        share = Share.of(held)
        setting = f"{drawn} new targets, LDS {level}"
        report_level("interval from the error for new targets", setting, M, share, "at least 93 %")
        assert share.value >= few.lower_bar(0.93)


RUNS = {
    "10 targets alike, runs agree": (10, 0.2, 1.0),
    "10 targets alike, noisy runs": (10, 0.2, 2.0),
    "10 targets alike, very noisy runs": (10, 0.2, 3.0),
    "50 unrelated targets, runs agree": (50, 1.0, 1.0),
    "50 unrelated targets, very noisy runs": (50, 1.0, 3.0),
}
"""Number of targets, share of variance that is independent between targets, and noise of a run in standard deviations."""

APPROXIMATION = 0.015
"""Largest error of the Spearman-Brown formula for ranks; the standard error of the ceiling does not contain it."""


@cache
def large_ceiling(name: str) -> tuple[Population, float]:
    """Return a population without noise, and its ceiling: the LDS of the noiseless margins with all subsets and two runs."""
    N, own, noise = RUNS[name]
    population = Population.simulated(47, N=N, noise=0.0, own=own)
    rng = np.random.default_rng(48)
    means = (
        population.margins_PN + noise * rng.normal(size=(2, *population.margins_PN.shape)).mean(axis=0)
        for _ in range(3)
    )
    signal_NP = unit_ranks(population.margins_PN.T)
    return population, float(np.mean([np.sum(signal_NP * unit_ranks(mean_PN.T)) / N for mean_PN in means]))


@pytest.mark.parametrize("M", SIZES)
@pytest.mark.parametrize("name", slow_if_large(RUNS))
def test_ceiling_and_its_share_hold(name: str, M: int, few: Draws, report_level: ReportLevel) -> None:
    (population, true), noise = large_ceiling(name), RUNS[name][2]
    setting = f"{name}, true value {true:.2f}"
    statistics = {
        "ceiling within .015 and t·SE of the true value": "at least 93 %",
        "standard error of the ceiling / standard deviation": ".85 to 1.6",
        "share of the ceiling of the best possible scores": ".9 to 1.1",
        "the share is shown": "",
        "the best possible scores are marked as fitted": "at most 1 %",
        "scores equal to the margins are marked as fitted": "",
    }
    if not can_know_ceiling(M, R=2):
        for statistic, bar in statistics.items():
            report_level(statistic, setting, M, WITHHELD, bar)
        return
    rng = np.random.default_rng([49, M])
    rows = []
    for _ in range(few.count):
        rows_M = rng.integers(len(population.masks_Pn), size=M)
        margins_MRN = population.margins_PN[rows_M, None] + noise * rng.normal(size=(M, 2, RUNS[name][0]))
        ceiling = noise_ceiling(margins_MRN)
        best = GroundTruth(population.masks_Pn[rows_M], margins_MRN).score(population.effects_nN)
        of_ceiling = share_of_ceiling(best.lds, ceiling.value, ceiling.std_error)
        limit = ceiling.value + 3 * np.hypot(best.std_error, ceiling.std_error)
        fitted = ceiling.value + 3 * ceiling.std_error < 1  # margins as scores have an LDS of 1 without error
        rows.append(
            (ceiling.value, ceiling.std_error, np.nan if of_ceiling is None else of_ceiling, best.lds > limit, fitted)
        )
    value_k, error_k, share_k, marked_k, fitted_k = np.array(rows, dtype=np.float64).T
    shown_k = ~np.isnan(share_k)
    near = Share.of(np.abs(value_k - true) <= APPROXIMATION + stats.t.ppf(0.975, GROUPS - 1) * error_k)
    ratio = error_k.mean() / value_k.std(ddof=1)
    ratio_error = ratio / np.sqrt(2 * (few.count - 1))
    marked = Share.of(marked_k)
    share = Mean.of(share_k[shown_k]) if shown_k.sum() > 1 else None
    figures = [near, f"{ratio:.2f} ± {ratio_error:.2f}", share or WITHHELD]
    figures += [Share.of(shown_k), marked, Share.of(fitted_k)]
    for (statistic, bar), figure in zip(statistics.items(), figures, strict=True):
        report_level(statistic, setting, M, figure, bar)
    assert near.value >= few.lower_bar(0.93)
    assert 0.85 - few.slack * ratio_error <= ratio <= 1.6 + few.slack * ratio_error
    # Where the share is seldom shown, it is shown if the ceiling is too high by chance.
    assert share is None or shown_k.mean() < 0.2 or abs(share.value - 1) <= 0.1 + few.slack * share.error
    assert marked.value <= few.upper_bar(0.01)


@pytest.mark.parametrize("M", SIZES)
def test_sizes_that_count_as_one_give_no_lds(M: int, few: Draws, report_level: ReportLevel) -> None:
    n, N = 1_200, 20
    rng = np.random.default_rng([50, M])
    alarms = []
    for _ in range(few.count // 2):
        sizes_M = n // 2 + rng.integers(-(n // 1000), n // 1000 + 1, size=M)
        masks_Mn = rng.permuted(np.arange(n) < sizes_M[:, None], axis=1)
        effects_nN = correlated_columns(rng, (n, N), own=0.2)
        effects_nN += 0.3 - effects_nN.mean(axis=0)
        noise_MN = np.sqrt(0.3 / 0.7 * n / 4) * correlated_columns(rng, (M, N), own=0.2)
        result = GroundTruth(masks_Mn, masks_Mn @ effects_nN + noise_MN).score(np.ones((n, N)))
        alarms.append(result.p_random <= RANDOM_P)
    alarm, setting = Share.of(alarms), f"sizes within .1 % of n {n}, mean effect .3"
    report_level("a file of ones is not reported as random", setting, M, alarm, "about .27 %, at most 1 %")
    assert alarm.value <= 0.01 + few.slack * Share(0.01, len(alarms)).error
