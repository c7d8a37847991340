"""The LDS under random matching of subsets and margins: standard deviation and p-value, compared with all permutations.

Legend: M subsets, N targets, P permutations.
"""

from __future__ import annotations

import math
import tracemalloc
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import GroundTruth, lds
from ldsboard.core.chance import RANDOM_P, TOLERANCE, ChanceSpread, MarginRanks, unit_rows
from ldsboard.core.ranking import CompactRanking, rank_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.ldsboard.conftest import MakeProblem


def chance(f_NM: NDArray[np.float64], g_NM: NDArray[np.float64], block: int = 2) -> ChanceSpread:
    spread = ChanceSpread(MarginRanks.of(CompactRanking.of(g_NM)))
    for start in range(0, len(f_NM), block):
        columns = slice(start, min(start + block, len(f_NM)))
        spread.add(unit_rows(rank_rows(f_NM[columns])), columns)
    return spread


def chance_spread(f_NM: NDArray[np.float64], g_NM: NDArray[np.float64], block: int = 2) -> float:
    return chance(f_NM, g_NM, block).value()


def mean_rhos(f_NM: NDArray[np.float64], g_NM: NDArray[np.float64], orders: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the LDS under each joint permutation of the subsets of f."""

    def unit(values_NM: NDArray[np.float64]) -> NDArray[np.float64]:
        ranks_NM = stats.rankdata(values_NM, axis=1) - (values_NM.shape[1] + 1) / 2
        length_N = np.linalg.norm(ranks_NM, axis=1, keepdims=True)
        return np.asarray(ranks_NM / np.where(length_N > 0, length_N, 1), dtype=np.float64)

    f, g = unit(f_NM), unit(g_NM)
    return np.array([np.vdot(f[:, order], g) for order in orders]) / len(f)


@pytest.mark.parametrize("N", [2, 5, 9], ids=["M > N", "M = N", "M < N"])
def test_chance_spread_equals_spread_over_all_permutations(N: int, rng: np.random.Generator) -> None:
    M = 5
    f_NM, g_NM = rng.integers(4, size=(N, M)).astype(float), rng.normal(size=(N, M))
    f_NM[0] = 1.0
    expected = mean_rhos(f_NM, g_NM, np.array(list(permutations(range(M)))))
    assert abs(expected.mean()) < 1e-12
    assert chance_spread(f_NM, g_NM) == pytest.approx(expected.std(), rel=1e-5)


@pytest.mark.parametrize(("M", "N"), [(64, 3), (64, 70), (63, 3)], ids=["M > N", "M < N", "few subsets"])
def test_chance_spread_equals_spread_over_2000_permutations(M: int, N: int, rng: np.random.Generator) -> None:
    shared_M = rng.normal(size=M)
    f_NM, g_NM = shared_M + rng.normal(size=(N, M)), shared_M + rng.normal(size=(N, M))
    orders = np.array([rng.permutation(M) for _ in range(2000)])
    # The standard deviation of 2,000 draws has a relative standard error of 1.6 %; allow three.
    assert chance_spread(f_NM, g_NM) == pytest.approx(mean_rhos(f_NM, g_NM, orders).std(), rel=3 * 0.016)


def test_both_gram_matrices_give_same_chance_spread(rng: np.random.Generator) -> None:
    f_NM, g_NM = rng.normal(size=(2, 70, 71))
    smaller = chance_spread(f_NM, g_NM, block=7)
    # With two more targets the code uses the other matrix; constant targets change only the divisor N.
    f_more, g_more = (np.vstack([values, np.zeros((2, 71))]) for values in (f_NM, g_NM))
    assert chance_spread(f_more, g_more, block=7) == pytest.approx(smaller * 70 / 72, rel=1e-5)


@pytest.mark.parametrize("N", [1, 3])
@pytest.mark.parametrize("M", [2, 4, 8])
def test_p_value_of_few_subsets_is_share_of_all_permutations(M: int, N: int, rng: np.random.Generator) -> None:
    orders = np.array(list(permutations(range(M))))
    for _ in range(10):
        f_NM, g_NM = rng.integers(4, size=(N, M)).astype(float), rng.normal(size=(N, M))
        reached_P = np.abs(mean_rhos(f_NM, g_NM, orders))
        p = chance(f_NM, g_NM).p_value(math.nan)
        # Permutations whose LDS is within the tolerance of the observed LDS may count, or not.
        assert np.mean(reached_P >= reached_P[0] - 1e-9) <= p <= np.mean(reached_P >= reached_P[0] - 2 * TOLERANCE)
        assert chance(-f_NM, g_NM).p_value(math.nan) == p


@pytest.mark.parametrize("M", [9, 30, 63])
def test_p_value_from_random_permutations_equals_reference(M: int, rng: np.random.Generator) -> None:
    orders = np.array([rng.permutation(M) for _ in range(10_000)])
    for correlation in (0.0, 0.3):
        g_NM = rng.normal(size=(4, M)) + rng.normal(size=M)
        f_NM = correlation * g_NM + rng.normal(size=(4, M))
        observed = abs(mean_rhos(f_NM, g_NM, np.arange(M)[None])[0])
        # Many permutations have exactly the observed LDS, up to the rounding of the sums, which differs between processors.
        expected = np.mean(np.abs(mean_rhos(f_NM, g_NM, orders)) >= observed - 1e-9)
        # Both are shares of 10,000 permutations; allow three standard errors of their difference.
        assert chance(f_NM, g_NM).p_value(math.nan) == pytest.approx(expected, abs=3 * math.sqrt(2 * 0.25 / 10_000))


def test_p_value_of_many_subsets_is_normal(rng: np.random.Generator) -> None:
    f_NM, g_NM = rng.normal(size=(2, 3, 64))
    for z in (0.0, 1.5, -3.0, 40.0):
        assert chance(f_NM, g_NM).p_value(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)
    assert 2 * stats.norm.sf(2.9999) > RANDOM_P > 2 * stats.norm.sf(3)


@pytest.mark.parametrize(("M", "smallest"), [(4, 2 / 24), (6, 2 / 720), (8, 2 / 40320), (9, 1e-4), (63, 1e-4)])
def test_perfect_scores_have_smallest_p_value(M: int, smallest: float) -> None:
    masks, margins = np.eye(M, dtype=bool), np.arange(M)[:, None]
    result = lds(margins, masks, margins)
    assert result.p_random == pytest.approx(smallest, rel=1e-12)
    assert ("scores.random" in result.warnings) == (smallest > RANDOM_P)
    assert lds(np.ones((M, 1)), masks, margins).p_random == 1


@pytest.mark.parametrize("M", [20, 100])
def test_p_value_does_not_depend_on_blocks_or_threads(
    M: int, make_problem: MakeProblem, rng: np.random.Generator
) -> None:
    scores, masks, margins = make_problem(M=M, N=30)
    truth = GroundTruth(masks, margins + 20 * rng.normal(size=margins.shape))
    found = {truth.score(scores, threads=threads).p_random for threads in (1, 2, 5)}
    assert len(found) == 1 or (M >= 64 and max(found) == pytest.approx(min(found), rel=1e-3))


@pytest.mark.parametrize("shared", [False, True], ids=["unrelated columns", "one column for all"])
def test_z_random_of_unexplained_margins_is_standard_normal(shared: bool, make_problem: MakeProblem) -> None:
    _, masks, margins = make_problem(M=50, N=4)
    z = []
    for seed in range(150):
        rng = np.random.default_rng([seed, 7])
        scores = rng.normal(size=(30, 1 if shared else 4)) * np.ones(4)
        z.append(lds(scores, masks, rng.permutation(margins)).z_random)
    # A normal z exceeds 3 in absolute value with probability .0027; its standard deviation over 150 draws has an error of 5.8 %.
    assert np.std(z) == pytest.approx(1, rel=3 * 0.058)
    assert sum(abs(value) >= 3 for value in z) <= 3


def test_margins_are_scaled_a_few_at_a_time(rng: np.random.Generator) -> None:
    N, M = 500, 10_000
    ranks = CompactRanking.of(rng.normal(size=(N, M)))
    tracemalloc.start()
    try:
        gram_NN = MarginRanks.of(ranks).gram_NN
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert gram_NN is not None
    unit_NM = unit_rows(ranks)
    assert np.allclose(gram_NN, unit_NM @ unit_NM.T, rtol=0, atol=1e-6)
    assert peak < 8 * N * M  # all of them in float64 are 40 MB, beside 20 MB in float32
