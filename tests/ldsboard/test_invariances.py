"""Transformations that must not change an LDS, or must change it in a known way, on problems of random shape.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ldsboard import Result, lds
from ldsboard.core import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Drawn(NamedTuple):
    scores: NDArray[np.float64]
    masks: NDArray[np.bool_]
    margins: NDArray[np.float64]
    rng: np.random.Generator


@st.composite
def problems(draw: st.DrawFn) -> Drawn:
    """Draw problems of any shape; few levels give many ties and sometimes constant predictions."""
    M, n, N = draw(st.integers(2, 30)), draw(st.integers(1, 40)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 100, 2**20]))
    margins_MN = rng.integers(draw(st.sampled_from([2, 5, 2**20])), size=(M, N)).astype(np.float64)
    margins_MN[0] = margins_MN.max(axis=0) + 1
    scores_nN = rng.integers(-levels, levels + 1, size=(n, N)).astype(np.float64)
    return Drawn(scores_nN, rng.random((M, n)) < draw(st.sampled_from([0.1, 0.5, 0.9])), margins_MN, rng)


def assert_same(a: Result, b: Result) -> None:
    """Compare two results except for the fingerprint: errors, z and grid loss to a relative 1e-5, other values exactly."""
    assert a.lds == b.lds
    assert np.array_equal(a.per_target, b.per_target)
    assert np.array_equal(a.influence, b.influence)
    assert np.array_equal(a.p_values, b.p_values, equal_nan=True)
    np.testing.assert_allclose(
        (a.std_error, *a.confidence_interval, a.std_error_new_targets, a.z_random, a.grid_loss),
        (b.std_error, *b.confidence_interval, b.std_error_new_targets, b.z_random, b.grid_loss),
        rtol=1e-5,
        atol=1e-12,
    )
    assert (a.constant_predictions, a.duplicate_subsets) == (b.constant_predictions, b.duplicate_subsets)


@given(problems())
def test_order_of_subsets_permutes_influence_only(drawn: Drawn) -> None:
    scores, masks, margins, rng = drawn
    order = rng.permutation(len(masks))
    plain, permuted = lds(scores, masks, margins), lds(scores, masks[order], margins[order])
    assert np.array_equal(permuted.influence, plain.influence[order])
    assert_same(replace(permuted, influence=plain.influence), plain)


@given(problems())
def test_order_of_targets_permutes_per_target_values_only(drawn: Drawn) -> None:
    scores, masks, margins, rng = drawn
    order = rng.permutation(margins.shape[1])
    plain, permuted = lds(scores, masks, margins), lds(scores[:, order], masks, margins[:, order])
    assert_same(permuted, replace(plain, per_target=plain.per_target[order], p_values=plain.p_values[order]))


@given(problems())
def test_order_of_training_examples_changes_no_value(drawn: Drawn) -> None:
    scores, masks, margins, rng = drawn
    order = rng.permutation(len(scores))
    assert_same(lds(scores[order], masks[:, order], margins), lds(scores, masks, margins))


@given(problems())
def test_monotone_map_of_margins_changes_no_value(drawn: Drawn) -> None:
    scores, masks, margins, _ = drawn
    assert_same(lds(scores, masks, margins**2 + 3), lds(scores, masks, margins))  # margins are nonnegative integers


@given(problems(), st.integers(-900, 900))
def test_scaling_scores_by_power_of_two_changes_no_bit(drawn: Drawn, exponent: int) -> None:
    scores, masks, margins, _ = drawn
    noisy = scores + drawn.rng.normal(size=scores.shape)  # noise sets arbitrary low bits
    assert lds(np.ldexp(noisy, exponent), masks, margins).per_target.tobytes() == (
        lds(noisy, masks, margins).per_target.tobytes()
    )
    assert_same(lds(np.ldexp(noisy, exponent), masks, margins), lds(noisy, masks, margins))


@given(problems(), st.integers(1, 2**10))
def test_scaling_integer_scores_by_integer_changes_no_value(drawn: Drawn, factor: int) -> None:
    scores, masks, margins, _ = drawn
    assert_same(lds(scores * factor, masks, margins), lds(scores, masks, margins))


@given(problems())
def test_negating_scores_or_margins_flips_sign(drawn: Drawn) -> None:
    scores, masks, margins, _ = drawn
    plain = lds(scores, masks, margins)
    for flipped in (lds(-scores, masks, margins), lds(scores, masks, -margins)):
        assert flipped.lds == -plain.lds
        assert np.array_equal(flipped.per_target, -plain.per_target)
        assert np.array_equal(flipped.influence, -plain.influence)
        assert np.array_equal(flipped.p_values, plain.p_values, equal_nan=True)
        low, high = plain.confidence_interval
        np.testing.assert_allclose(flipped.confidence_interval, (-high, -low), rtol=1e-9, atol=1e-12)


@given(problems(), st.integers(1, 9))
def test_block_size_changes_no_value(drawn: Drawn, block: int) -> None:
    scores, masks, margins, _ = drawn
    whole = lds(scores, masks, margins)
    before = blocks.MAX_BLOCK_TARGETS
    blocks.MAX_BLOCK_TARGETS = block
    try:
        assert_same(lds(scores, masks, margins), whole)
    finally:
        blocks.MAX_BLOCK_TARGETS = before


@given(problems())
def test_repeating_every_target_changes_no_mean(drawn: Drawn) -> None:
    scores, masks, margins, _ = drawn
    once, twice = lds(scores, masks, margins), lds(np.tile(scores, 2), masks, np.tile(margins, 2))
    assert twice.lds == once.lds
    assert np.array_equal(twice.influence, once.influence)
    assert twice.constant_predictions == 2 * once.constant_predictions


@given(problems())
def test_result_values_stay_within_bounds(drawn: Drawn) -> None:
    scores, masks, margins, _ = drawn
    M, N = margins.shape
    result = lds(scores, masks, margins)
    assert np.abs(result.per_target).max() <= 1
    assert abs(result.influence.sum()) < 1e-10 * M + M * 2**-30
    assert 0 <= result.constant_predictions <= N
    assert np.isnan(result.std_error) == (M < 4)
    if M >= 4:
        low, high = result.confidence_interval
        assert -1 <= low <= result.lds <= high <= 1
