"""Comparisons and ranks that account for reruns.

Legend: M subsets, k entries, d draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, compare
from ldsboard.core.board import rank_board
from ldsboard.core.comparison import compare_influences
from ldsboard.core.replicates import FILES_ONLY, Reruns, add_reruns, in_words, rerun_p_values
from tests.statistics.digits import Digits, called_different
from tests.statistics.figures import share_error

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem

ONE = Reruns(1, 1, math.nan)


def expected_p(z: float, M: int, parts: dict[int, float]) -> float:
    """Return the mean of the p-values of Student's t, from the share of the squared error by degrees of freedom."""
    shares = {**parts, M - 1: 1 - sum(parts.values())}
    return float(sum(share * 2 * stats.t.sf(abs(z), degrees) for degrees, share in shares.items()))


def test_each_method_has_the_spread_of_its_own_replicates(make_problem: MakeProblem, rng: np.random.Generator) -> None:
    scores, masks, margins = make_problem(M=100)
    truth = GroundTruth(masks, margins)
    a, b = (
        [truth.score(scores + noise * rng.normal(size=scores.shape)) for _ in range(r)] for noise, r in ((1, 3), (2, 5))
    )
    lds_a, lds_b = [result.lds for result in a], [result.lds for result in b]
    paired = np.mean([r.influence for r in a], axis=0) - np.mean([r.influence for r in b], axis=0)
    of_a, of_b = np.var(lds_a, ddof=1) / 3, np.var(lds_b, ddof=1) / 5
    error = math.sqrt(np.sum(paired**2) / (100 * 99) + of_a + of_b)
    found = compare(a, b)
    assert found.difference == pytest.approx(np.mean(lds_a) - np.mean(lds_b), rel=1e-12)
    assert found.std_error == pytest.approx(error, rel=1e-12)
    pooled = (2 * np.var(lds_a, ddof=1) + 4 * np.var(lds_b, ddof=1)) / 6
    assert found.spread == pytest.approx(math.sqrt(pooled), rel=1e-12)
    assert (found.replicates, found.note) == ((3, 5), None)
    parts = {2: float(of_a / error**2), 4: float(of_b / error**2)}
    assert found.p_value == pytest.approx(expected_p(found.z, 100, parts), rel=1e-10)
    assert expected_p(found.critical, 100, parts) == pytest.approx(0.05, rel=1e-9)
    low, high = found.confidence_interval
    assert (low + high) / 2 == pytest.approx(found.difference)
    assert (high - low) / 2 == pytest.approx(found.critical * found.std_error)
    assert "3 and 5" in found._repr_html_()


def test_spread_of_one_method_is_used_for_both(make_problem: MakeProblem, rng: np.random.Generator) -> None:
    scores, masks, margins = make_problem(M=100)
    truth = GroundTruth(masks, margins)
    *several, single = [truth.score(scores + rng.normal(size=scores.shape)) for _ in range(4)]
    found, back = compare(several, single), compare(single, several)
    assert found.spread == back.spread == pytest.approx(np.std([result.lds for result in several], ddof=1), rel=1e-12)
    paired = np.mean([result.influence for result in several], axis=0) - single.influence
    squared = np.sum(paired**2) / (100 * 99) + np.var([result.lds for result in several], ddof=1) * (1 / 3 + 1)
    assert found.std_error == back.std_error == pytest.approx(math.sqrt(squared), rel=1e-12)
    assert (found.replicates, back.replicates) == ((3, 1), (1, 3))
    assert found.p_value == back.p_value


def test_two_replicates_leave_the_comparison_of_files_as_it_was(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(M=100)
    truth = GroundTruth(masks, margins)
    results = [truth.score(scores + np.random.default_rng(seed).normal(size=scores.shape)) for seed in range(4)]
    found = compare(results[:2], results[2:])
    paired = (results[0].influence + results[1].influence - results[2].influence - results[3].influence) / 2
    assert found.std_error == pytest.approx(math.sqrt(np.sum(paired**2) / (100 * 99)), rel=1e-12)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.z), 99), rel=1e-12)
    assert (found.spread, found.note, found.replicates) == (None, FILES_ONLY, (2, 2))
    assert found.critical == pytest.approx(stats.t.ppf(0.975, 99), rel=1e-12)


def test_words_of_a_comparison() -> None:
    assert FILES_ONLY == "these two files; how much a rerun moves is not known"
    assert in_words({}) == in_words({"spread": None, "replicates": [2, 1]}) == FILES_ONLY
    both = "means over 3 and 4 replicates, with a standard deviation of 0.0027 from rerun to rerun"
    assert in_words({"spread": 0.0027, "replicates": [3, 4]}) == both
    for replicates, known in (([3, 1], "first"), ([2, 3], "second")):
        text = in_words({"spread": 0.0027, "replicates": replicates, "uses_subsets": (True, True)})
        assert f" from rerun to rerun, known for the {known} only and assumed for both; both are declared" in text
    # Two replicates of one method are compared as files, with the spread of all its replicates.
    assert "assumed" not in in_words({"spread": 0.0027, "replicates": [1, 1]})


def decided(
    reruns: list[Reruns], lds: list[float], influence_kM: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> bool:
    """Return whether the board decides that its first entry is better than its second, which is the last."""
    standings = rank_board(lds, influence_kM, np.ones(2, dtype=np.bool_), 0, reruns)
    assert standings[0].rank_low == 1
    assert bool(standings[1].separable_from_first) == (standings[1].rank_low == 2)
    return standings[1].rank_low == 2


@pytest.mark.parametrize("spread", [0.0, 0.0005, 0.001, 0.002, 0.004])
def test_ranks_of_two_entries_are_those_of_the_comparison(spread: float, rng: np.random.Generator) -> None:
    influence_kM = 0.01 * rng.normal(size=(2, 50))
    influence_kM -= influence_kM.mean(axis=1, keepdims=True)
    for difference in np.linspace(0, 0.02, 41):
        lds = [0.3 + difference, 0.3]
        for reruns in (
            [ONE, ONE],
            [Reruns(3, 3, spread), ONE],
            [ONE, Reruns(4, 4, spread)],
            [Reruns(3, 3, spread)] * 2,
        ):
            pair = compare_influences(difference, influence_kM[0], influence_kM[1], reruns=(reruns[0], reruns[1]))
            assert decided(reruns, lds, influence_kM) == (pair.p_value <= 0.05), (difference, reruns)


def test_entry_outside_the_family_is_ranked_with_its_reruns() -> None:
    rng = np.random.default_rng(3)
    influence_kM = 0.01 * rng.normal(size=(3, 50))
    influence_kM -= influence_kM.mean(axis=1, keepdims=True)
    lds, in_family = [0.32, 0.31, 0.30], np.array([True, False, True])
    files = rank_board(lds, influence_kM, in_family, 0)
    moved = rank_board(lds, influence_kM, in_family, 0, [ONE, Reruns(3, 3, 0.05), ONE])
    assert [place[:2] for place in files] == [(1, 1), (2, 2), (2, 2)]
    assert moved[1] == (1, 3, False)
    assert (moved[0], moved[2]) == (files[0], files[2])


@pytest.mark.parametrize("degrees", [2, 4])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
def test_p_values_with_few_replicates_keep_every_level(degrees: int, share: float) -> None:
    # Differences of two equal methods with normal errors; `share` of the variance comes from reruns. With 200,000 draws, the
    # Monte Carlo standard error of a level of .05 is .0005, and of a level of .0001 it is .00002.
    draws, M = 200_000, 100
    rng = np.random.default_rng([5, degrees, round(100 * share)])
    paired_d = np.sqrt((1 - share) * rng.chisquare(M - 1, draws) / (M - 1))
    spread_d = np.sqrt(share * rng.chisquare(degrees, draws) / degrees)
    # One method is known so well that its mean adds nothing: 1/a + 1/b is 1.
    mean, file = Reruns(np.inf, np.full(draws, degrees + 1), spread_d), ONE
    error = add_reruns(paired_d, mean, file)
    z_d = rng.normal(size=draws) / error.std_error
    p_d = rerun_p_values(z_d, M, error)
    for level in (0.05, 0.01, 0.001, 0.0001):
        assert np.mean(p_d < level) <= level + 3 * share_error(level, draws)
    assert np.mean(p_d < 0.05) > 0.02  # not so careful that nothing is found


@pytest.mark.parametrize(
    ("replicates", "spreads"),
    [((3, 3), (0.0027, 0.0027)), ((3, 3), (0.0001, 0.0027)), ((10, 3), (0.0001, 0.0027)), ((5, 3), (0.0009, 0.0027))],
)
def test_methods_that_vary_differently_keep_the_level(
    replicates: tuple[int, int], spreads: tuple[float, float]
) -> None:
    # Equal methods, normal errors over reruns and over subsets. With 20,000 draws, the Monte Carlo standard error of a level of
    # .05 is .0015, and of a level of .001 it is .0002. One pooled spread gave .067 in the second row, and .18 in the third.
    draws, M, paired_error = 20_000, 200, 0.001
    rng = np.random.default_rng([7, *replicates, round(1e5 * spreads[0])])
    lds = [spread * rng.normal(size=(draws, r)) for r, spread in zip(replicates, spreads, strict=True)]
    a, b = (Reruns(r, np.full(draws, r), side.std(axis=1, ddof=1)) for r, side in zip(replicates, lds, strict=True))
    error = add_reruns(np.full(draws, paired_error), a, b)
    difference = lds[0].mean(axis=1) - lds[1].mean(axis=1) + paired_error * rng.normal(size=draws)
    p_d = rerun_p_values(difference / error.std_error, M, error)
    for level in (0.05, 0.001):
        assert np.mean(p_d < level) <= level + 3 * share_error(level, draws)
    assert np.mean(p_d < 0.05) > 0.01  # not so careful that nothing is found


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.trained(P=200, n=100, N=30)


def test_reruns_of_one_method_differ_as_files_and_not_with_three_replicates(digits: Digits) -> None:
    rng = np.random.default_rng(22)
    found = [called_different(digits, rng, M=200) for _ in range(10)]
    share = {name: np.mean([getattr(each, name) for each in found]) for name in ("files", "triples", "triple_and_file")}
    # With 12 draws, the Monte Carlo standard errors are .03 for files, .01 for triples, and .015 for a triple and a file.
    assert share["files"] > 0.3
    assert share["triples"] <= 0.05 + 3 * 0.01
    assert share["triple_and_file"] <= 0.05 + 3 * 0.015
