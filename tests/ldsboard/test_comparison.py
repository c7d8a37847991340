"""Paired differences.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, ProblemError, compare
from ldsboard.core.comparison import compare_influences

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem


def test_compare_equals_formula_and_is_antisymmetric(make_problem: MakeProblem, rng: np.random.Generator) -> None:
    scores, masks, margins = make_problem(M=100)
    truth = GroundTruth(masks, margins)
    a, b = truth.score(scores), truth.score(scores + rng.normal(size=scores.shape))
    forth, back = compare(a, b), compare(b, a)
    error = math.sqrt(np.sum((a.influence - b.influence) ** 2) / (100 * 99))
    assert forth.difference == a.lds - b.lds == -back.difference
    assert forth.std_error == back.std_error == pytest.approx(error, rel=1e-12)
    assert forth.z == -back.z == pytest.approx(forth.difference / error, rel=1e-12)
    assert forth.p_value == back.p_value == pytest.approx(2 * stats.t.sf(abs(forth.z), 99), rel=1e-10)
    assert forth.std_error < math.hypot(a.std_error, b.std_error)


def test_compare_of_result_with_itself_is_zero(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    truth = GroundTruth(masks, margins)
    same = compare(truth.score(scores), truth.score(2 * scores))
    assert (same.difference, same.std_error, same.z, same.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_compare_without_error_has_p_value_zero(sign: int) -> None:
    certain = compare_influences(sign * 0.1, np.zeros(9), np.zeros(9))
    assert (certain.std_error, certain.z, certain.p_value) == (0, sign * math.inf, 0)


def test_compare_of_fewer_than_four_subsets_has_no_error() -> None:
    unknown = compare_influences(0.1, np.zeros(3), np.ones(3))
    assert unknown.difference == 0.1
    assert all(map(math.isnan, (unknown.std_error, unknown.z, unknown.p_value)))


def test_compare_rejects_results_of_different_ground_truths(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    truth = GroundTruth(masks, margins)
    parts = truth.score(scores, splits={"a": slice(0, 20), "b": slice(20, 40)})
    with pytest.raises(ProblemError, match=r"the same subsets and margins.*got results with the") as caught:
        compare(parts["a"], parts["b"])
    assert caught.value.problem.code == "compare.different"
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(truth.score(scores), replace(truth.score(scores), fingerprint="0" * 64))


def test_compare_rejects_equal_scores_at_nominal_rate() -> None:
    # Swapping the halves of the examples and the two targets turns one file into the other and keeps the distribution of subsets
    # and margins. Both files therefore have the same expected LDS.
    rng = np.random.default_rng(17)
    M, n, count = 80, 20, 500
    effect_n, error_n = np.tile(rng.normal(size=n // 2), 2), rng.normal(size=n)
    a_nN = np.stack([effect_n + error_n, effect_n], axis=1)
    b_nN = np.stack([effect_n, effect_n + np.roll(error_n, n // 2)], axis=1)
    rejected = 0
    for _ in range(count):
        masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
        truth = GroundTruth(masks_Mn, (masks_Mn @ effect_n)[:, None] + rng.normal(size=(M, 2)) * 2)
        rejected += compare(truth.score(a_nN), truth.score(b_nN)).p_value < 0.05
    # The nominal rate is .05, with a Monte Carlo standard error of .0097.
    assert rejected / count == pytest.approx(0.05, abs=3 * 0.0097)


def test_empty_sequence_of_replicates_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one result in each sequence"):
        compare([], [])
