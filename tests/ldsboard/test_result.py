"""Values, warnings and representation of a result, including degenerate input.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth, lds
from ldsboard.core.chance import RANDOM_P
from ldsboard.core.ranking import rank_rows, spearman_influence

if TYPE_CHECKING:
    from tests.ldsboard.conftest import MakeProblem


def test_repr_of_result_shows_lds_interval_and_size(make_problem: MakeProblem) -> None:
    result = lds(*make_problem())
    low, high = result.confidence_interval
    assert repr(result) == f"Result(lds={result.lds:.4f} [{low:.4f}, {high:.4f}], M=40, N=5)"
    assert result.mean_p == result.p_values.mean()
    assert (result.per_target.shape, result.p_values.shape, result.influence.shape) == ((5,), (5,), (40,))
    assert result.lds == math.fsum(result.per_target) / 5
    assert abs(result.influence.sum()) < 40 * 2**-30


def test_results_of_same_input_are_equal(make_problem: MakeProblem) -> None:
    assert lds(*make_problem()) == lds(*make_problem())
    assert lds(*make_problem()) != lds(*make_problem(seed=1))


def test_target_with_constant_predictions_has_rho_0_and_p_1(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores[:, 1] = 0.1  # every subset holds half the examples
    scores[:, 3] = 0.0
    scores[::2, 3] = -0.0
    result = lds(scores, masks, margins)
    others = lds(scores[:, [0, 2, 4]], masks, margins[:, [0, 2, 4]])
    assert result.constant_predictions == 2
    assert result.per_target[[1, 3]].tolist() == [0, 0]
    assert result.p_values[[1, 3]].tolist() == [1, 1]
    assert result.lds == pytest.approx(others.lds * 3 / 5, rel=1e-15)
    np.testing.assert_allclose(result.influence, others.influence * 3 / 5, atol=1e-12)
    assert "scores.constant_predictions" in result.warnings
    assert "scores.constant_predictions" not in others.warnings


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 1e-310])
def test_equal_scores_have_lds_zero_and_warnings(value: float, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(M=30, n=100)
    result = lds(np.full_like(scores, value), masks, margins)
    assert (result.lds, result.z_random, result.std_error, result.grid_loss) == (0, 0, 0, 0)
    assert set(result.confidence_interval) == {0}
    assert result.grid_loss_target == -1
    assert result.warnings == ["scores.constant_predictions", "scores.random"]


@pytest.mark.parametrize("M", [2, 3])
def test_result_of_fewer_than_four_subsets_has_no_standard_errors(M: int, make_problem: MakeProblem) -> None:
    result = lds(*make_problem(M=M, N=3, seed=4))
    assert -1 <= result.lds <= 1
    assert math.isnan(result.std_error)
    assert math.isnan(result.std_error_new_targets)
    assert all(map(math.isnan, result.confidence_interval))
    assert math.isfinite(result.z_random)


def test_two_subsets_have_p_value_only_for_constant_predictions(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(M=2, N=2)
    scores[:, 1] = 0.1
    p_values = lds(scores, masks, margins).p_values
    assert math.isnan(p_values[0])
    assert p_values[1] == 1


def test_influence_is_mean_over_targets_of_values_rounded_to_2_to_the_minus_30(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores = np.rint(scores * 8)
    f, g = rank_rows((masks @ scores).T), rank_rows(margins.T.copy())
    influence_NM = spearman_influence(f, g)
    assert np.array_equal(lds(scores, masks, margins).influence, np.rint(influence_NM * 2**30).sum(axis=0) / 2**30 / 5)


def test_result_of_one_target_has_no_error_for_new_targets(make_problem: MakeProblem) -> None:
    result = lds(*make_problem(N=1))
    assert math.isnan(result.std_error_new_targets)
    assert result.std_error > 0


def test_error_for_new_targets_approaches_standard_error_with_more_targets(make_problem: MakeProblem) -> None:
    few, many = lds(*make_problem(N=4)), lds(*make_problem(N=200))
    assert few.std_error_new_targets > few.std_error
    assert many.std_error_new_targets / many.std_error < few.std_error_new_targets / few.std_error


def test_lds_of_perfect_scores_is_exactly_one(make_problem: MakeProblem) -> None:
    scores, masks, _ = make_problem()
    scores = np.rint(scores * 8)
    result = lds(scores, masks, masks @ scores)
    assert result.lds == 1
    assert result.p_values.tolist() == [0] * 5
    # The influence of every subset is 0 without ties, and also with ties that predictions and margins share.
    assert result.confidence_interval[1] == 1
    assert not result.warnings


def test_result_counts_repeated_subsets(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    masks[7] = masks[30] = masks[2]
    assert lds(scores, masks, margins).duplicate_subsets == 2


def test_random_scores_with_more_subsets_than_examples_have_no_wrong_sign(rng: np.random.Generator) -> None:
    """Random scores correlate by chance with the effects of few examples: one in eight files is below -3 at M / n = 8."""
    M, n, files = 400, 50, 300
    masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
    effects_n = rng.normal(size=(n, 1))
    truth = GroundTruth(masks_Mn, masks_Mn @ effects_n)
    found = [truth.score(rng.normal(size=(n, 1))) for _ in range(files)]
    assert sum(result.z_random <= -3 for result in found) > files / 20
    assert sum("scores.sign_flipped" in result.warnings for result in found) <= 3  # .4 are expected
    assert truth.score(-effects_n).warnings == ["scores.sign_flipped"]


def test_result_warns_of_flipped_and_random_scores(make_problem: MakeProblem, rng: np.random.Generator) -> None:
    scores, masks, margins = make_problem()
    good = lds(scores, masks, margins)
    assert good.z_random > 3
    assert good.warnings == []
    flipped = lds(-scores, masks, margins)
    assert flipped.z_random == -good.z_random
    assert flipped.warnings == ["scores.sign_flipped"]
    assert lds(rng.normal(size=scores.shape), masks, margins).warnings == ["scores.random"]
    assert replace(good, p_random=RANDOM_P).warnings == []
    assert replace(good, p_random=RANDOM_P + 1e-9).warnings == ["scores.random"]
    assert replace(flipped, p_random=RANDOM_P + 1e-9).warnings == ["scores.random"]


def test_result_warns_of_column_with_large_dynamic_range_and_names_it(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores[:, 3] = np.where(np.arange(30) % 2, 1.0, 1 + 1e-13 * scores[:, 3])
    result = lds(scores, masks, margins)
    steps = scores[:, 3] * 2.0 ** (53 - 5 - 1)
    predictions_M = masks @ np.rint(steps)
    # float64 holds the differences of these integers near 2**50 exactly, but not their mean.
    spread = (predictions_M - predictions_M[0]).std()
    assert result.grid_loss == pytest.approx(15 / 2 / spread, rel=1e-12)
    assert result.grid_loss_target == 3
    assert result.warnings == ["scores.dynamic_range"]


def test_scores_on_the_grid_have_no_grid_loss(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    result = lds(scores.astype(np.float16), masks, margins)
    assert (result.grid_loss, result.grid_loss_target) == (0, -1)
    assert 0 < lds(scores, masks, margins).grid_loss < 1e-12


@pytest.mark.parametrize("exponent", [-1060, -1022, 900, 1010])
def test_huge_and_subnormal_scores_give_same_result(exponent: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores = np.rint(scores * 100)
    expected = lds(scores, masks, margins)
    result = lds(np.ldexp(scores, exponent), masks, margins)
    assert result == expected
    assert np.array_equal(result.influence, expected.influence)
