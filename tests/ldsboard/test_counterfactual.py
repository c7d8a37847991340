"""Which examples are removed, and the statistics of falls, against plain implementations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from ldsboard.core.comparison import compare_influences
from ldsboard.counterfactual.falls import Falls, Known, Outputs, OwnOutputs, Summary
from ldsboard.counterfactual.plan import Plan
from ldsboard.counterfactual.removals import CONTROLS, OPPONENTS, PROPONENTS, Marks, Removals, draw_controls
from ldsboard.counterfactual.result import CounterfactualResult
from ldsboard.manifest import BundleError, Manifest

PLAN = Plan(targets=(0, 2, 3), sizes=(1, 2, 4), headline=2, runs=2)


def manifest(**members: Any) -> Manifest:
    filled: dict[str, Any] = dict.fromkeys(Manifest.__dataclass_fields__)
    return Manifest(**filled | {"name": "toy", "n_train": 1200, "n_targets": 597, "recipe": {}} | members)


def test_plan_has_one_percent_as_headline_and_spread_targets() -> None:
    plan = Plan.of(manifest())
    assert (plan.sizes, plan.headline, plan.runs) == ((3, 6, 12, 24, 60), 12, 3)
    assert len(plan.targets) == 100
    assert (plan.targets[0], plan.targets[-1]) == (0, 596)
    assert max(np.diff(plan.targets)) - min(np.diff(plan.targets)) <= 1
    assert Plan.of(manifest(n_train=5000)).sizes == (12, 25, 50, 100, 250)


@pytest.mark.parametrize(("asked", "expected"), [(None, 20), (7, 7), (597, 597), (10_000, 597)])
def test_plan_takes_number_of_targets_from_caller_or_manifest(asked: int | None, expected: int) -> None:
    plan = Plan.of(manifest(recipe={"name": "toy", "counterfactual": {"targets": 20, "runs": 1}}), asked)
    assert (len(set(plan.targets)), plan.runs) == (expected, 1)


@pytest.mark.parametrize(
    "named", [{"targets": 0}, {"runs": 1.5}, {"rounds": 3}, {"targets": True}, [], "all", {"runs": -1}]
)
def test_plan_rejects_manifest_that_names_something_else(named: Any) -> None:
    with pytest.raises(BundleError, match="names the counterfactual evaluation"):
        Plan.of(manifest(recipe={"counterfactual": named}))


def test_plan_rejects_benchmark_that_would_have_no_examples_left() -> None:
    assert Plan.of(manifest(n_train=3)).sizes == (1,)
    with pytest.raises(BundleError, match="too few to remove some"):
        Plan.of(manifest(n_train=1))


@given(arrays.arrays(np.float32, (9, 4), elements=st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 3.0])))
def test_removals_are_the_first_of_a_plain_sort(scores_nN: np.ndarray[Any, Any]) -> None:
    found = Removals.of(scores_nN, PLAN)
    for row, target in enumerate(PLAN.targets):
        column = [float(score) for score in scores_nN[:, target]]
        highest = sorted(range(9), key=lambda i: (-column[i], i))
        lowest = sorted(range(9), key=lambda i: (column[i], i))
        assert found.examples[PROPONENTS][row].tolist() == highest[:4]
        assert found.examples[OPPONENTS][row].tolist() == lowest[:4]
    labels_n = np.arange(9) // 2  # classes of two examples, and one of a single example
    for k in PLAN.sizes:
        ties = wrong = emptied = 0
        for target in PLAN.targets:
            column = [float(score) for score in scores_nN[:, target]]
            order = sorted(range(9), key=lambda i: (-column[i], i))
            ties += column[order[k - 1]] == column[order[k]]
            wrong += any(column[i] <= 0 for i in order[:k])
            emptied += any(set(np.flatnonzero(labels_n == c)) <= set(order[:k]) for c in range(5))
        assert found.marks(PROPONENTS, k, labels_n) == Marks(ties, wrong, emptied)


def test_opponents_with_positive_scores_are_marked() -> None:
    scores_nN = np.tile(np.arange(-1, 8.0)[:, None], 4)
    found = Removals.of(scores_nN, PLAN)
    assert [found.marks(OPPONENTS, k, np.arange(9)).wrong_sign for k in PLAN.sizes] == [0, 3, 3]
    assert [found.marks(PROPONENTS, k, np.arange(9)).wrong_sign for k in PLAN.sizes] == [0, 0, 0]


def test_controls_are_distinct_sets_that_depend_on_seed_and_size() -> None:
    drawn = draw_controls(1, 12, 1200)
    assert drawn.shape == (CONTROLS, 12)
    assert len({frozenset(row) for row in drawn.tolist()}) == CONTROLS
    assert all(len(set(row)) == 12 for row in drawn.tolist())
    np.testing.assert_array_equal(drawn, draw_controls(1, 12, 1200))
    assert (draw_controls(2, 12, 1200) != drawn).any()
    assert (draw_controls(1, 24, 1200)[:, :12] != drawn).any()


def outputs(rng: np.random.Generator, *shape: int) -> Outputs:
    margins, losses = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    return Outputs(margins, losses, rng.random(shape) < 0.8)


@pytest.fixture
def known() -> Known:
    rng = np.random.default_rng(0)
    return Known(outputs(rng, 2, 6), {2: outputs(rng, CONTROLS, 2, 6)}, np.array([0, 1, 0, 1, 2, 0]))


def test_falls_are_those_of_plain_loops(known: Known) -> None:
    rng, labels = np.random.default_rng(1), known.labels_N
    targets = (0, 3, 4)
    after = outputs(rng, 6, 6)  # a model for each of three targets and two runs
    each = np.repeat(targets, 2)
    reshaped: list[Any] = [values.reshape(3, 2) for values in OwnOutputs.of(after, each, labels)]
    own = OwnOutputs(*reshaped)
    found = Falls.of(own, known, targets, 2)
    before, control = known.everything, known.controls[2]
    for row, t in enumerate(targets):
        runs = [(2 * row + r, r) for r in range(2)]  # the model after the removal, and the one before
        others = [i for i in range(6) if labels[i] == labels[t] and i != t]
        plain = {
            "margin": [before.margins[r, t] - after.margins[m, t] for m, r in runs],
            "loss": [after.losses[m, t] - before.losses[r, t] for m, r in runs],
            "flipped": [int(before.correct[r, t]) - int(after.correct[m, t]) for m, r in runs],
            "others": [before.margins[r, i] - after.margins[m, i] for m, r in runs for i in others] or [math.nan],
            "control": [before.margins[r, t] - control.margins[d, r, t] for d in range(CONTROLS) for _, r in runs],
        }
        for name, values in plain.items():
            assert getattr(found, name)[row] == pytest.approx(np.mean(values), rel=1e-6, nan_ok=True), name
    for r in range(2):
        falls_T = [before.margins[r, t] - after.margins[2 * row + r, t] for row, t in enumerate(targets)]
        assert found.by_run[r] == pytest.approx(np.mean(falls_T))
    for d in range(CONTROLS):
        falls_RT = [before.margins[r, t] - control.margins[d, r, t] for r in range(2) for t in targets]
        assert found.by_control[d] == pytest.approx(np.mean(falls_RT))


def falls(margin: np.ndarray[Any, Any], control: np.ndarray[Any, Any]) -> Falls:
    nothing = np.full(margin.size, np.nan)
    return Falls(margin, margin, margin, nothing, control, np.array([1.0, 2.0, 4.0]), np.full(CONTROLS, control.mean()))


def test_summary_has_the_numbers_of_t_tests() -> None:
    rng = np.random.default_rng(2)
    margin, control = rng.gamma(1.0, size=40), rng.normal(size=40)
    found = Summary.of(falls(margin, control))
    plain = stats.ttest_1samp(margin, 0)
    assert found.fall == pytest.approx(margin.mean())
    assert found.confidence_interval == pytest.approx(tuple(plain.confidence_interval()))
    assert found.std_error == pytest.approx(stats.sem(margin))
    paired = stats.ttest_rel(margin, control)
    assert (found.above_control, found.p_value) == pytest.approx((paired.statistic, paired.pvalue))
    assert found.std_error_runs == pytest.approx(stats.sem([1.0, 2.0, 4.0]))
    assert math.isnan(found.others)


def test_random_controls_that_differ_widen_the_error_of_the_difference() -> None:
    rng = np.random.default_rng(4)
    margin, by_control = rng.gamma(1.0, size=40), rng.normal(size=CONTROLS)
    found = Summary.of(falls(margin, np.zeros(40))._replace(by_control=by_control))
    # Welch's test of two samples has the same error and the same degrees of freedom.
    plain = stats.ttest_ind(margin, by_control - by_control.mean(), equal_var=False)
    assert (found.above_control, found.p_value) == pytest.approx((plain.statistic, plain.pvalue))


def test_two_entries_are_compared_in_pairs_over_targets() -> None:
    rng = np.random.default_rng(3)
    a, b = (falls(values, np.zeros(30)) for values in rng.normal(size=(2, 30)))
    found = compare_influences(
        float(a.margin.mean() - b.margin.mean()), *(each.margin - each.margin.mean() for each in (a, b))
    )
    plain = stats.ttest_rel(a.margin, b.margin)
    assert (found.z, found.p_value) == pytest.approx((plain.statistic, plain.pvalue))
    assert found.confidence_interval == pytest.approx(tuple(plain.confidence_interval()))


def test_single_target_has_no_error_and_equal_falls_have_none() -> None:
    one = Summary.of(falls(np.array([2.0]), np.array([0.0])))
    assert one.fall == 2
    assert all(map(math.isnan, (one.std_error, *one.confidence_interval, one.above_control, one.p_value)))
    equal = Summary.of(falls(np.full(5, 2.0), np.zeros(5)))
    assert (equal.std_error, equal.above_control, equal.p_value) == (0, math.inf, 0)
    same = Summary.of(falls(np.full(5, 2.0), np.full(5, 2.0)))
    assert (same.above_control, same.p_value) == (0, 1)


def test_rows_hold_no_nan_for_json() -> None:
    key = (PROPONENTS, 2)
    result = CounterfactualResult(
        replace(PLAN, sizes=(2,)),
        np.array([3.0]),
        {(kind, 2): falls(np.array([2.0]), np.array([0.0])) for kind in (PROPONENTS, OPPONENTS)},
        {(kind, 2): Marks(0, 1, 0) for kind in (PROPONENTS, OPPONENTS)},
        1.0,
    )
    row = result.rows()[0]
    assert (row["direction"], row["removed"], row["fall"], row["wrong_sign"]) == (*key, 2.0, 1)
    assert row["confidence_interval"] == [None, None]
    assert row["others"] is None
