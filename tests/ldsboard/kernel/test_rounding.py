"""Rounding by the compiled kernel: the same bits as numpy's, for float32 rows in memory of any layout.

Legend: n training examples, b columns.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ldsboard import ProblemError
from ldsboard.core import grid
from ldsboard.core.grid import coarse_limit, grid_bits, to_grid
from ldsboard.core.kernel import Route
from tests.ldsboard.kernel.routes import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ldsboard.core.grid import GridBlock

ROUTES = [Route(variant, "", True) for variant in VARIANTS]


def assert_same_block(scores_nb: NDArray[np.floating], columns: slice | NDArray[np.intp]) -> GridBlock:
    """Check that every variant rounds to the same bits as numpy, and return the block."""
    expected = to_grid(scores_nb, columns)
    for route in ROUTES:
        found = to_grid(scores_nb, columns, route)
        for name, value in expected._asdict().items():
            got = getattr(found, name)
            assert got.tobytes() == value.tobytes() or np.array_equal(got, value), (route, name)
        assert found.whole_nb.tobytes() == expected.whole_nb.tobytes()  # -0 too
    return expected


@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 2, 7, 64, 300]),
    b=st.integers(1, 40),
    exponent=st.sampled_from([-140, -60, -9, 0, 30, 120]),
    digits=st.sampled_from([0, 60]),
)
def test_kernel_rounds_like_numpy(seed: int, n: int, b: int, exponent: int, digits: int) -> None:
    rng = np.random.default_rng(seed)
    scores_nb = np.ldexp(rng.standard_normal((n, b)), exponent - rng.integers(0, digits + 1, size=(n, b)))
    scores_nb[:, rng.random(b) < 0.2] = rng.choice([0.0, -0.0, 5e-44], size=n)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        scores_nb = scores_nb.astype(np.float32)
    if np.isfinite(scores_nb).all():
        assert_same_block(scores_nb, slice(None))
        assert_same_block(scores_nb, rng.permutation(b)[: b // 2 + 1])


@pytest.mark.parametrize("b", [1, 8, 21])
def test_rounded_and_coarse_scores_are_counted_alike(b: int) -> None:
    rng = np.random.default_rng(b)
    scores_nb = (rng.integers(-40_000, 40_000, size=(30, b)) / 4).astype(np.float32)
    scores_nb[1:-1:2] = 7.0
    scores_nb[-1] = 4.0  # is not rounded
    factor_b = np.full(b, 0.5, dtype=np.float32)
    factor_b[1::3] = 4
    scaled_nb = scores_nb * factor_b
    changed_nb = np.rint(scaled_nb) != scaled_nb
    coarse_b = (changed_nb & (np.abs(scaled_nb) < 500 * math.sqrt(30))).sum(axis=0)
    assert (coarse_b < changed_nb.sum(axis=0)).any()
    for route in ROUTES:
        found = grid._rounded_compiled(scores_nb, factor_b, variant=route.name)
        for got, expected in zip(found, (np.rint(scaled_nb), changed_nb.any(axis=0), coarse_b), strict=True):
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("n", [2700, 5000, 50_000])
def test_neighbour_does_not_change_which_scores_are_coarse(n: int) -> None:
    rng = np.random.default_rng(n)
    limit = np.float32(500 * math.sqrt(n))
    near = [np.nextafter(limit, np.float32(0)), limit, np.nextafter(limit, np.float32(np.inf))]
    scores_nb = np.ldexp(rng.choice(near, size=(n, 3)), -grid_bits(n))
    scores_nb[0] = 0.75
    small_n = np.ldexp(
        rng.standard_normal((n, 1)).astype(np.float32), -120
    )  # is scaled in float64, with all of its block
    apart, together = (
        assert_same_block(scores_nb, slice(None)),
        assert_same_block(np.hstack([scores_nb, small_n]), slice(3)),
    )
    beside = to_grid(np.hstack([scores_nb, small_n]), slice(None))
    for name in ("rounded_b", "typical_b"):
        values = getattr(apart, name)
        assert np.array_equal(getattr(together, name), values)
        assert np.array_equal(getattr(beside, name)[:3], values)


@pytest.mark.parametrize("n", [*range(1, 60), 2700, 50_000])
def test_limit_of_coarse_scores_is_that_of_exact_numbers(n: int) -> None:
    exact = 500 * math.sqrt(n)
    limit = coarse_limit(n, np.dtype(np.float32))
    assert isinstance(limit, np.float32)
    assert float(np.nextafter(limit, np.float32(0))) < exact <= float(limit)
    assert coarse_limit(n, np.dtype(np.float64)) == exact


def test_typical_magnitudes_of_coarse_columns_are_equal() -> None:
    scores_nb = np.exp(np.random.default_rng(1).uniform(-60, 0, size=(5000, 9))).astype(np.float32)
    scores_nb[0] = 1
    assert np.isfinite(assert_same_block(scores_nb, slice(None)).typical_b).any()


LAYOUTS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.floating]]] = {
    "rows": lambda scores: scores,
    "some columns": lambda scores: np.concatenate([scores, scores], axis=1)[:, : scores.shape[1]],
    "reversed rows": lambda scores: scores[::-1],
    "every other row": lambda scores: np.repeat(scores, 2, axis=0)[::2],
    "one row, repeated": lambda scores: np.broadcast_to(scores[:1], scores.shape),
    "columns": np.asfortranarray,
    "reversed columns": lambda scores: scores[:, ::-1],
    "big-endian": lambda scores: scores.astype(">f4"),
    "unaligned": lambda scores: np.frombuffer(b"x" + scores.tobytes(), np.float32, offset=1).reshape(scores.shape),
    "float64": lambda scores: scores.astype(np.float64),
    "float16": lambda scores: scores.astype(np.float16),
}
COMPILED = {"rows", "some columns", "reversed rows", "every other row", "one row, repeated", "float16"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_rounded_alike(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores_nb = LAYOUTS[layout](np.random.default_rng(2).standard_normal((50, 20)).astype(np.float32))
    used: list[str] = []
    compiled = grid._rounded_compiled

    def record(scores_nb: NDArray[np.float32], factor_b: NDArray[np.float32], *, variant: str) -> Any:
        used.append(variant)
        return compiled(scores_nb, factor_b, variant=variant)

    monkeypatch.setattr(grid, "_rounded_compiled", record)
    assert_same_block(scores_nb, slice(3, 17))
    assert used == [route.name for route in ROUTES] * (layout in COMPILED)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 8, 19])
def test_kernel_finds_scores_that_are_not_finite(value: float, column: int) -> None:
    scores_nb = np.random.default_rng(3).standard_normal((50, 20)).astype(np.float32)
    scores_nb[31, column] = value
    for route in ROUTES:
        with pytest.raises(ProblemError, match=re.escape(f"at (row, column) (31, {column})")):
            to_grid(scores_nb, slice(None), route)
