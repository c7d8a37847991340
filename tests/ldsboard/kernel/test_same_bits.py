"""Every route gives the same bits, for subsets, scores and blocks of any size.

Legend: M subsets, n training examples, N targets, b targets of one block.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from ldsboard import GroundTruth
from ldsboard.arrays import packed
from ldsboard.arrays.packed import PackedMasks
from ldsboard.core import blocks, kernel, products, ranking
from ldsboard.core.kernel import ROUTE_VARIABLE
from ldsboard.core.products import Product
from ldsboard.core.ranking import CompactRanking, rank_integers, rank_rows, spearman, spearman_influence
from ldsboard.core.result import INFLUENCE_UNITS, TargetBlock, sums_of_squares
from tests.ldsboard.definition import result_bits
from tests.ldsboard.kernel.routes import HERE, VARIANTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.ldsboard.conftest import Large

SIZES = [
    (2, 1, 1),
    (2, 63, 8),
    (3, 64, 9),
    (5, 65, 7),
    (64, 130, 17),
    (255, 77, 3),
    (256, 1001, 8),
    (256, 1001, 31),
    (257, 127, 16),
    (257, 127, 33),
    (300, 130, 32),
    (300, 200, 65),
    (1000, 500, 1),
    (10_000, 333, 11),
]
"""Numbers M, n and b: on both sides of every limit of the kernel's groups, words, tiles of columns, and few subsets."""


def grid_integers(rng: np.random.Generator, n: int, b: int) -> NDArray[np.float64]:
    """Return grid integers up to the largest that `n` allows; some columns hold only 0.0, -0.0 and the largest integers."""
    largest = 2 ** (53 - n.bit_length())
    grid_nb = rng.integers(-largest, largest + 1, size=(n, b)).astype(np.float64)
    for j in range(2, b, 5):
        grid_nb[:, j] = rng.choice([0.0, -0.0, float(largest), -float(largest)], size=3)[rng.integers(3, size=n)]
    return grid_nb


def expected_sums(masks_Mn: NDArray[np.bool_], grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums in int64, as float64 (b, M); 0 is +0.0."""
    return (grid_nb.T.astype(np.int64) @ masks_Mn.T.astype(np.int64)).astype(np.float64)


@pytest.mark.parametrize(("M", "n", "b"), SIZES)
@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.99, 1.0])
def test_every_variant_gives_the_exact_sums(M: int, n: int, b: int, alpha: float) -> None:
    rng = np.random.default_rng([M, n, b])
    masks_Mn, grid_nb = rng.random((M, n)) < alpha, grid_integers(rng, n, b)
    expected_bM = expected_sums(masks_Mn, grid_nb)
    words_WM = kernel.mask_words(PackedMasks.of(masks_Mn))
    for variant in VARIANTS:
        sums_bM = kernel.sums(words_WM, grid_nb, variant=variant)
        assert sums_bM.tobytes() == expected_bM.tobytes(), variant


@pytest.mark.parametrize("route", HERE)
@pytest.mark.parametrize(("M", "n", "b"), SIZES)
def test_product_of_every_route_gives_the_exact_sums(
    route: str, M: int, n: int, b: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng([M, n, b])
    masks_Mn, grid_nb = rng.random((M, n)) < 0.5, grid_integers(rng, n, b)
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    sums_bM = Product(PackedMasks.of(masks_Mn))(grid_nb)
    assert np.array_equal(sums_bM, expected_sums(masks_Mn, grid_nb))


@pytest.mark.parametrize("route", HERE)
@pytest.mark.parametrize(("columns", "inflated"), [(8, 64), (64, 2**14), (2**11, 2**20)])
def test_size_of_blocks_of_masks_changes_no_bit(
    route: str, columns: int, inflated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(columns)
    masks_Mn, grid_nb = rng.random((70, 203)) < 0.5, grid_integers(rng, 203, 9)
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    monkeypatch.setattr(packed, "BLOCK_BYTES", columns)
    monkeypatch.setattr(products, "KEPT_BYTES", 0)
    monkeypatch.setattr(products, "INFLATED_COLUMNS", columns)
    monkeypatch.setattr(products, "INFLATED_BYTES", inflated)
    sums_bM = Product(PackedMasks.of(masks_Mn))(grid_nb)
    assert np.array_equal(sums_bM, expected_sums(masks_Mn, grid_nb))


@given(data=st.data())
def test_results_of_all_routes_have_equal_bits(data: st.DataObject) -> None:
    M = data.draw(st.sampled_from([2, 3, 63, 64, 65, 255, 256, 257, 300, 1025]))
    n, N = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 70))
    dtype: Any = data.draw(st.sampled_from([np.float64, np.float32, np.float16]))
    alpha = data.draw(st.floats(0.01, 0.99))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores_nN = rng.normal(size=(n, N)) * 10.0 ** rng.integers(-300, 300, size=N)
    kinds = rng.integers(8, size=N)
    scores_nN[:, kinds == 0] = rng.choice([0.0, -0.0], size=n)[:, None]
    scores_nN[:, kinds == 1] = rng.integers(-9, 10, size=(n, 1)) * 5e-324  # subnormal, with ties
    scores_nN[:, kinds == 2] = rng.choice([0.1, -0.1, -0.0], size=n)[:, None]
    scores_nN[:, kinds == 3] *= 10.0 ** rng.integers(-14, 1, size=(n, 1))
    if dtype != np.float64:
        smallest, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max / 2
        magnitude_nN = np.clip(np.abs(scores_nN), float(smallest), float(largest))
        scores_nN = np.where(scores_nN == 0, scores_nN, np.copysign(magnitude_nN, scores_nN)).astype(dtype)
    masks_Mn, margins_MN = rng.random((M, n)) < alpha, rng.normal(size=(M, N))
    margins_MN[:, ::2] = np.rint(margins_MN[:, ::2])  # ties
    margins_MN[0], margins_MN[1] = -9.0, 9.0  # never constant
    bits = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "MAX_BLOCK_TARGETS", data.draw(st.sampled_from([1, 3, 8, 512])))
        for route in HERE:
            patch.setenv(ROUTE_VARIABLE, route)
            truth = GroundTruth(masks_Mn, margins_MN)
            result = truth.score(scores_nN)
            every: Any = (result_bits(result), repr(asdict(result)), truth.predict(scores_nN, range(N)).tobytes())
            bits[route] = every
    assert all(bits[route] == bits["blas"] for route in HERE)


@pytest.mark.parametrize("route", HERE)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block", [5, 512])
def test_threads_and_blocks_change_no_bit_on_any_route(
    route: str, threads: int, block: int, large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, "blas")
    scores, masks, margins = large
    expected = result_bits(GroundTruth(masks, margins).score(scores))
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    monkeypatch.setattr(blocks, "MAX_BLOCK_TARGETS", block)
    assert result_bits(GroundTruth(masks, margins).score(scores, threads=threads)) == expected


@pytest.mark.parametrize("M", [64, 65, 1000, 4097])
@pytest.mark.parametrize("step", [1, 3, -1, -2])
def test_kernel_ranks_as_numpy_does(M: int, step: int) -> None:
    rng = np.random.default_rng(M)
    t = 12
    values_tM = rng.integers(-(2**45), 2**45, size=(t, M)).astype(np.float64)
    margins_tM = rng.normal(size=(t, M))
    for j, distinct in enumerate([1, 2, 3, 10, M // 2]):
        values_tM[j] = rng.integers(distinct, size=M) * 2.0**30 - 2.0**31
        margins_tM[5 + j % 2] = rng.integers(max(2, distinct), size=M)
        margins_tM[j] = rng.integers(3, size=M)
    values_tM[11] = np.where(rng.random(M) < 0.5, 0.0, -0.0)
    compact = CompactRanking.of(margins_tM)
    spread = np.zeros((t, M * abs(step)))
    rows = slice(None, None, step)
    spread[:, rows] = values_tM
    f, g = rank_integers(values_tM), compact.expanded()
    expected = TargetBlock.empty(slice(0, t), M)
    expected.add(slice(0, t), f, spearman(f, g), spearman_influence(f, g))
    for variant in VARIANTS:
        ranked = kernel.ranks(spread[:, rows], compact, INFLUENCE_UNITS, variant=variant)
        assert ranked is not None
        found = TargetBlock.empty(slice(0, t), M)
        found.add_ranked(slice(0, t), ranked)
        for name in ("rho_b", "squared_influence_b", "constant_b", "unit_bM", "influence_units_M"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("M", [100, 8192, 8193, 20_000])
def test_sum_of_squares_does_not_depend_on_the_other_rows(M: int) -> None:
    influence_tM = np.rint(np.random.default_rng(M).normal(size=(5, M)) * INFLUENCE_UNITS)
    alone = [sums_of_squares(influence_M[None])[0] for influence_M in influence_tM]
    assert sums_of_squares(influence_tM).tolist() == alone
    assert np.allclose(alone, np.square(influence_tM).sum(axis=1), rtol=1e-12)


def test_range_that_is_too_large_for_keys_is_left_to_numpy() -> None:
    values = np.zeros((2, 1025))  # 11 bits for positions, 52 for values
    compact = CompactRanking.of(np.random.default_rng(0).normal(size=values.shape))
    for _ in VARIANTS[:1]:
        values[1, 7] = 2.0**52 - 1
        assert kernel.ranks(values, compact, 1.0, variant="portable") is not None
        values[1, 7] = 2.0**52
        assert kernel.ranks(values, compact, 1.0, variant="portable") is None
        with pytest.raises(ValueError, match="expected ranks of shape"):
            kernel.ranks(np.zeros((3, 1025)), compact, 1.0, variant="portable")
        with pytest.raises(TypeError, match="expected aligned float64, got float32"):
            kernel.ranks(values.astype(np.float32), compact, 1.0, variant="portable")
        with pytest.raises(TypeError, match=r"strides \(8204, 4\)"):
            kernel.ranks(as_strided(values, strides=(8204, 4)), compact, 1.0, variant="portable")
        wide = replace(compact, ranks_bM=compact.ranks_bM.astype(np.int64))
        with pytest.raises(TypeError, match="got \\['int32', 'int64', 'float64'\\]"):
            kernel.ranks(np.zeros((2, 1025)), wide, 1.0, variant="portable")


def test_compact_ranking_expands_to_the_same_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    values_bM = np.random.default_rng(3).integers(40, size=(9, 50)).astype(np.float64)
    values_bM[4] = np.arange(50.0)
    monkeypatch.setattr(ranking, "RANKED_NUMBERS", 120)
    expected, found = rank_rows(values_bM), CompactRanking.of(values_bM).expanded()
    for name in ("ranks_bM", "tied_t", "first_tM", "last_tM", "squares_b"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert np.array_equal(np.take_along_axis(values_bM, found.order_bM, axis=1), np.sort(values_bM, axis=1))
