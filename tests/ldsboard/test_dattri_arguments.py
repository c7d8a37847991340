"""`lds` with the arguments of dattri's metric, ``lds(score, (values, indices))``; tests/references compares with dattri itself.

Legend: M subsets, m training examples of one subset, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError, lds
from tests.ldsboard.definition import result_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.ldsboard.conftest import MakeProblem

# The case in dattri's own test of its metric (test/dattri/metrics/test_lds.py of dattri 0.3.0), and its expected results.
SCORE = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.3, 0.4]], dtype=np.float32).T
VALUES = np.array([[0.3, 0.3], [0.4, 0.4], [0.5, 0.3]], dtype=np.float32)
INDICES = np.array([[0, 1], [0, 2], [1, 2]])
CORRELATIONS, P_VALUES = [1.0, 0.8660254037844387], [0.0, 0.3333333333333332]


def indices_of(masks_Mn: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the indices of each subset, (M, m), in descending order."""
    return np.stack([np.flatnonzero(row)[::-1] for row in masks_Mn])


def refused(*arguments: Any, **options: Any) -> ProblemError:
    """Return the error of a call of `lds`."""
    with pytest.raises(ProblemError) as caught:
        lds(*arguments, **options)
    return caught.value


def test_lds_gives_numbers_of_dattris_own_test() -> None:
    result = lds(SCORE, (VALUES, INDICES))
    np.testing.assert_allclose(result.per_target, CORRELATIONS, rtol=0, atol=1e-15)
    np.testing.assert_allclose(result.p_values, P_VALUES, rtol=0, atol=1e-15)
    assert result.lds == pytest.approx(np.mean(CORRELATIONS), abs=1e-15)


def test_pair_gives_same_bits_as_masks_and_margins(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    expected = result_bits(lds(scores, masks, margins))
    for second in (
        indices_of(masks),
        indices_of(masks).astype(np.int32),
        masks,
        masks.astype(np.uint8),
        [*indices_of(masks)],
    ):
        assert result_bits(lds(scores, (margins, second))) == expected
    pair: Any = [margins, indices_of(masks)]
    assert result_bits(lds(scores, pair)) == expected


def test_sign_of_values_is_not_changed(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    result, flipped = lds(scores, (margins, indices_of(masks))), lds(scores, (-margins, indices_of(masks)))
    assert result.lds > 0.5
    np.testing.assert_array_equal(flipped.per_target, -result.per_target)
    assert flipped.warnings == ["scores.sign_flipped"]


def test_subsets_of_different_sizes_are_accepted(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    masks[3, 4:] = False
    lists = [np.flatnonzero(row) for row in masks]
    assert result_bits(lds(scores, (margins, lists))) == result_bits(lds(scores, masks, margins))


def test_integers_of_zeros_and_ones_are_never_masks(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    for dtype in (np.int64, np.int8, np.float32):
        error = refused(scores, (margins, masks.astype(dtype)))
        assert error.problem.code == "masks.invalid"
        assert "bool" in error.problem.hint
    # With two training examples, rows of zeros and ones can be lists of both indices: dattri reads them so.
    both = lds([[1.0], [2.0]], ([[1.0], [2.0]], np.array([[0, 1], [1, 0]])))
    assert both.constant_predictions == 1


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        (INDICES - 1, "-1 in subset 0"),
        (INDICES + 2, "4 in subset 1"),
        (INDICES * 0, "1 repeated indices in subset 0"),
        (VALUES, "values first and the indices second"),
        ([[0.5, 1.0], [1.0, 2.0], [0.0, 1.0]], "values first and the indices second"),
        ([[0], [0.5, 2], [1]], "dtype float64 in subset 1"),
        ("abc", "masks.invalid|Subsets|subsets"),
    ],
)
def test_indices_that_are_no_subsets_are_refused(indices: Any, words: str) -> None:
    error = refused(SCORE, (VALUES, indices))
    assert error.problem.code == "masks.invalid"
    assert any(word in str(error) for word in words.split("|")), str(error)


def test_values_that_do_not_fit_are_refused() -> None:
    more = np.concatenate([VALUES, VALUES[:, :1]], axis=1)  # dattri ignores the last target
    assert refused(SCORE, (more, INDICES)).problem.code == "scores.shape"
    assert refused(SCORE, (VALUES[:2], INDICES)).problem.code == "margins.invalid"
    assert refused(SCORE, (VALUES * np.nan, INDICES)).problem.code == "margins.invalid"
    assert refused(SCORE.T, (VALUES, INDICES)).problem.code == "scores.transposed"
    assert refused(SCORE, (INDICES, VALUES)).problem.code == "masks.invalid"


@pytest.mark.parametrize("masks", [INDICES, (VALUES,), (VALUES, INDICES, INDICES), None, "ab", {"values": 1}])
def test_call_without_margins_needs_a_pair(masks: Any) -> None:
    error = refused(SCORE, masks)
    assert error.problem.code == "margins.invalid"
    assert "lds(scores, (values, indices))" in error.problem.hint


def test_pair_cannot_hold_packed_bits() -> None:
    error = refused(SCORE, (VALUES, INDICES), packed=True)
    assert error.problem.code == "masks.invalid"
    assert "packed" in error.problem.hint
