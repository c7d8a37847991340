"""Ranks, Spearman's rho and its influence function, compared with SciPy and the definitions.

Legend: M subsets, b lists.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard.core.ranking import MAX_SUBSETS, CompactRanking, rank_integers, rank_rows, spearman, spearman_influence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVELS = [2, 3, 7, 10_000]
"""Number of distinct values in a list: from heavy ties to no ties."""


def lists(seed: int, b: int, M: int, levels: int) -> NDArray[np.float64]:
    """Return b lists of length M, (b, M): the first list without ties, the others with ties."""
    values_bM = np.random.default_rng(seed).integers(levels, size=(b, M)).astype(np.float64)
    values_bM[0] = np.random.default_rng(seed).permutation(M)
    return values_bM


def influence_by_definition(f: Sequence[float], g: Sequence[float]) -> list[float]:
    """Return the influence of each pair ``(f[i], g[i])`` on Spearman's rho, computed from the definition by comparing all pairs.

    The numbers are exact fractions up to the square root.
    """
    M = len(f)

    def mid_ranks(values: Sequence[float]) -> list[Fraction]:
        return [Fraction(sum((v < x) + (v <= x) for v in values), 2 * M) for x in values]

    def upper(first: list[Fraction], second: list[Fraction], i: int) -> Fraction:
        above = sum((second[k] for k in range(M) if first[k] > first[i]), Fraction(0))
        equal = sum((second[k] for k in range(M) if first[k] == first[i]), Fraction(0))
        return (above + equal / 2) / M

    def mean(values: list[Fraction]) -> Fraction:
        return sum(values, Fraction(0)) / M

    F, G = mid_ranks(f), mid_ranks(g)
    half = Fraction(1, 2)
    FF, GG, FG = mean([x * x for x in F]), mean([x * x for x in G]), mean([x * y for x, y in zip(F, G, strict=True)])
    VF, VG = FF - half**2, GG - half**2
    scale = float(VF * VG) ** 0.5
    rho = float(FG - half**2) / scale
    influence = []
    for i in range(M):
        c = F[i] * G[i] + upper(F, G, i) + upper(G, F, i) - 3 * FG
        vF = F[i] ** 2 + 2 * upper(F, F, i) - 3 * FF
        vG = G[i] ** 2 + 2 * upper(G, G, i) - 3 * GG
        influence.append(float(c) / scale - rho / 2 * float(vF / VF + vG / VG))
    return influence


@pytest.mark.parametrize("levels", LEVELS)
def test_ranks_are_doubled_centred_average_ranks_of_scipy(levels: int) -> None:
    values_bM = lists(1, 5, 31, levels)
    ranking = rank_rows(values_bM)
    assert np.array_equal(ranking.ranks_bM, 2 * stats.rankdata(values_bM, axis=1) - 32)
    assert not ranking.ranks_bM.sum(axis=1).any()
    assert np.array_equal(ranking.squares_b, (ranking.ranks_bM**2).sum(axis=1))
    assert 0 not in ranking.tied_t


@pytest.mark.parametrize(
    "spread", [1, 3, 1000, 2**40, 2**53], ids=["1", "3", "1000", "2**40", "2**53, too wide to pack"]
)
@pytest.mark.parametrize("M", [2, 3, 64, 65, 1500])
def test_rank_integers_equals_rank_rows(spread: int, M: int) -> None:
    rng = np.random.default_rng(11)
    values_bM = rng.integers(-spread + 1, spread, size=(9, M)).astype(np.float64)
    values_bM[0, :2] = -spread + 1, spread - 1
    values_bM[1] = spread - 1
    values_bM[2] = np.repeat(values_bM[2, : -(-M // 2)], 2)[:M]
    f, g = rank_integers(values_bM), rank_rows(values_bM)
    assert np.array_equal(f.ranks_bM, 2 * stats.rankdata(values_bM, axis=1) - (M + 1))
    assert np.array_equal(f.tied_t, g.tied_t)
    assert np.array_equal(np.take_along_axis(values_bM, f.order_bM, axis=1), np.sort(values_bM, axis=1))
    other = rank_rows(rng.integers(4, size=(9, M)).astype(np.float64))
    assert np.array_equal(spearman_influence(f, other), spearman_influence(g, other))


def test_influence_of_row_slices_equals_slices_of_influence() -> None:
    f, g = CompactRanking.of(lists(12, 8, 40, 30)), CompactRanking.of(lists(13, 8, 40, 5))
    whole_bM = spearman_influence(f.expanded(), g.expanded())
    parts = [spearman_influence(f.rows(i, k).expanded(), g.rows(i, k).expanded()) for i, k in ((0, 1), (1, 5), (5, 8))]
    assert np.array_equal(np.vstack(parts), whole_bM)


def test_rank_rows_treats_signed_zeros_as_equal() -> None:
    assert rank_rows(np.array([[0.0, -0.0, 1.0, -1.0]])).ranks_bM.tolist() == [[0, 0, 3, -3]]


@pytest.mark.parametrize("f_levels", LEVELS)
@pytest.mark.parametrize("g_levels", LEVELS)
def test_spearman_equals_scipy(f_levels: int, g_levels: int) -> None:
    f_bM, g_bM = lists(2, 6, 29, f_levels), lists(3, 6, 29, g_levels)
    expected = [stats.spearmanr(f, g).statistic for f, g in zip(f_bM, g_bM, strict=True)]
    np.testing.assert_allclose(spearman(rank_rows(f_bM), rank_rows(g_bM)), expected, rtol=0, atol=1e-14)


def test_spearman_of_equal_lists_is_exactly_one() -> None:
    values_bM = lists(4, 40, 101, 5)
    assert (spearman(rank_rows(values_bM), rank_rows(values_bM)) == 1).all()
    assert (spearman(rank_rows(values_bM), rank_rows(-values_bM)) == -1).all()


@pytest.mark.parametrize("f_levels", LEVELS)
@pytest.mark.parametrize("g_levels", LEVELS)
def test_influence_equals_definition_over_all_pairs(f_levels: int, g_levels: int) -> None:
    f_bM, g_bM = lists(5, 2, 17, f_levels), lists(6, 2, 17, g_levels)[::-1].copy()
    f, g = rank_rows(f_bM), rank_rows(g_bM)
    influence_bM = spearman_influence(f, g)
    expected_bM = [influence_by_definition(a, b) for a, b in zip(f_bM.tolist(), g_bM.tolist(), strict=True)]
    np.testing.assert_allclose(influence_bM, expected_bM, rtol=0, atol=1e-12)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("M", [2, 3, 50, 1000])
def test_influence_sums_to_zero(levels: int, M: int) -> None:
    f, g = rank_rows(lists(7, 3, M, max(levels, 2))), rank_rows(lists(8, 3, M, M))
    influence_bM = spearman_influence(f, g)
    assert np.abs(influence_bM.sum(axis=1)).max() < 1e-10 * M


def test_influence_equals_effect_of_one_more_subset() -> None:
    # By definition, the influence is the derivative of rho with respect to the weight of one more observation equal to i.
    M, copies = 60, 300
    f_M, g_M = lists(9, 2, M, 4)[1], lists(10, 2, M, 5)[1]
    f, g = rank_rows(f_M[None]), rank_rows(g_M[None])
    influence_M = spearman_influence(f, g)[0]
    rho = float(spearman(f, g)[0])
    for i in (0, 17, 41):
        more_f, more_g = (np.append(np.repeat(values, copies), values[i]) for values in (f_M, g_M))
        slope = (stats.spearmanr(more_f, more_g).statistic - rho) * (M * copies + 1)
        assert slope == pytest.approx(influence_M[i], abs=5e-3)


def test_rho_and_influence_of_constant_lists_are_zero() -> None:
    f, g = rank_rows(np.array([[1.0] * 5, [3, 1, 2, 5, 4], [2.0] * 5])), rank_rows(np.array([[1.0, 2, 3, 4, 5]] * 3))
    assert spearman(f, g).tolist() == [0, pytest.approx(0.6), 0]
    influence_bM = spearman_influence(f, g)
    assert not influence_bM[[0, 2]].any()
    assert influence_bM[1].any()
    assert spearman(g, f).tolist() == spearman(f, g).tolist()


def test_influence_sums_stay_within_float64_integers_at_largest_M() -> None:
    M = MAX_SUBSETS
    # |f g + W_fg + W_gf| <= (M - 1)**2 + 2 * (M**2 / 4) * 2, times M, minus 3 sums of squares of at most M**3 / 3.
    assert M * ((M - 1) ** 2 + M**2) + M**3 < 2**53
    f = rank_rows(np.arange(M, dtype=np.float64)[None])
    assert int(f.squares_b[0]) == sum(rank * rank for rank in range(-(M - 1), M, 2))
    assert spearman_influence(f, f).tolist() == [[0.0] * M]
