"""The fixed-point grid, compared with exact integer arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ldsboard import ProblemError
from ldsboard.core.grid import grid_bits, to_grid

TINY = 5e-324
HUGE = 1.7976931348623157e308


def exact_grid(column: list[float]) -> list[int]:
    """Round a column to its grid in rational numbers, from the definition alone."""
    exponent = max(math.frexp(score)[1] for score in column if score) if any(column) else 0
    scale = Fraction(2) ** (53 - len(column).bit_length() - exponent)
    return [round(Fraction(score) * scale) for score in column]


columns = st.lists(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1, 1)
    | st.sampled_from([TINY, -TINY, HUGE, -HUGE, -0.0, 0.0, 1.0, 2.0**-1022, 0.1]),
    min_size=1,
    max_size=40,
)


@given(columns)
@example([2.0**60, TINY])
@example([2.0**1000, 1e-300])  # scaling underflows the small value to 0 before rounding
def test_to_grid_rounds_to_nearest_integer_and_reports_rounded_columns(column: list[float]) -> None:
    largest = max(map(abs, column))
    grid_nb, rounded_b, *_ = to_grid(np.array(column)[:, None], slice(None))
    expected = exact_grid(column)
    assert grid_nb[:, 0].tolist() == expected
    exponent = math.frexp(largest)[1] if largest else 0
    scale = Fraction(2) ** (grid_bits(len(column)) - exponent)
    assert bool(rounded_b[0]) == any(Fraction(s) * scale != whole for s, whole in zip(column, expected, strict=True))


@given(columns)
def test_grid_sums_stay_below_2_to_the_53(column: list[float]) -> None:
    grid_nb, *_ = to_grid(np.array(column)[:, None], slice(None))
    assert sum(abs(int(whole)) for whole in grid_nb[:, 0]) < 2**53


@pytest.mark.parametrize(("n", "bits"), [(1, 52), (2, 51), (3, 51), (4, 50), (5000, 40), (8191, 40), (8192, 39)])
def test_grid_bits_allow_sums_of_n_numbers(n: int, bits: int) -> None:
    assert grid_bits(n) == bits
    assert n * 2**bits < 2**53


@pytest.mark.parametrize("scale", [-1074, -1060, -1022, -500, 0, 500, 971])
def test_to_grid_keeps_subnormal_and_huge_columns_exactly(scale: int) -> None:
    whole = np.array([[3.0], [-2.0], [1.0], [0.0]])
    grid_nb, rounded_b, *_ = to_grid(np.ldexp(whole, scale), slice(None))
    assert (grid_nb / grid_nb[2, 0]).T.tolist() == [[3, -2, 1, 0]]
    assert not rounded_b.any()


def test_to_grid_scales_each_column_separately() -> None:
    scores_nN = np.array([[1.0, 0.0, 1e-200], [0.5, -0.0, 3e200]])
    grid_nb, rounded_b, *_ = to_grid(scores_nN, slice(0, 3))
    assert grid_nb.T.tolist() == [exact_grid(column) for column in scores_nN.T.tolist()]
    assert not grid_nb[:, 1].any()
    assert rounded_b.tolist() == [False, False, True]
    assert np.array_equal(to_grid(scores_nN, slice(1, 3))[0], grid_nb[:, 1:])


def test_to_grid_keeps_float32_scores_of_5000_examples_exactly(rng: np.random.Generator) -> None:
    # A grid of 40 bits holds all 24 bits of a float32 down to 2**-16 of the largest score.
    scores_nN = rng.uniform(0.5, 1, size=(5000, 2)).astype(np.float32)
    grid_nb, rounded_b, *_ = to_grid(scores_nN, slice(None))
    assert not rounded_b.any()
    assert np.array_equal(grid_nb, np.ldexp(scores_nN.astype(np.float64), 40))


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "f8"), (np.inf, "f4"), (-np.inf, "f2")])
def test_to_grid_counts_nonfinite_scores_and_names_first(value: float, dtype: str) -> None:
    scores_nN = np.zeros((4, 3), dtype=dtype)
    scores_nN[2, 1] = scores_nN[1, 2] = scores_nN[3, 0] = value
    with pytest.raises(ProblemError, match=r"got 3 NaN or infinite, the first at \(row, column\) \(1, 2\)") as caught:
        to_grid(scores_nN, slice(None))
    assert caught.value.problem.code == "scores.nonfinite"
