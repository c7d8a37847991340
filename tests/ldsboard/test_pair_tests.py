"""Exactness of the paired tests of many pairs: boards equal those of a plain computation, and counts at limits are exact.

Legend: M subsets, k entries.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy
from scipy import stats
from scipy.spatial.distance import cdist

from ldsboard.core.board import BLOCK, _Family, rank_board
from ldsboard.core.pair_tests import PairTests
from ldsboard.core.replicates import Reruns
from tests.ldsboard.plain_board import plain_board

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def random_board(
    seed: int,
) -> tuple[Floats, Floats, NDArray[np.bool_], int, list[Reruns] | None]:
    """Draw the arguments of `rank_board`: boards with equal, nearly equal and rounded entries, and entries with replicates."""
    rng = np.random.default_rng([33, seed])
    k, M = int(rng.choice([2, 9, 40, 150])), int(rng.choice([8, 60, 300]))
    influence_kM = rng.choice([0, 1, 100.0]) * rng.normal(size=M)
    influence_kM = influence_kM + rng.choice([1e-9, 1e-6, 1e-4, 0.05, 1]) * rng.normal(size=(k, M))
    lds_k = rng.choice([1e-12, 1e-4, 0.01, 0.1, 1]) * rng.normal(size=k)
    kind = rng.choice(["different", "copies", "rounded LDS", "one copy", "rounded influences"])
    if kind == "copies":
        copied = rng.integers(max(1, k // 3), size=k)
        influence_kM, lds_k = influence_kM[copied], lds_k[copied]
    elif kind == "rounded LDS":
        lds_k = lds_k.round(2)
    elif kind == "one copy":
        influence_kM[rng.integers(k)], lds_k[rng.integers(k)] = influence_kM[0], lds_k[0]
    elif kind == "rounded influences":
        influence_kM = influence_kM.round(1)
    in_family_k = rng.random(k) < rng.choice([0.0, 0.3, 0.7, 1.0])
    reruns = None
    if rng.random() < 0.5:
        spread = rng.choice([0, 1e-6, 0.01, 0.1])
        numbers = rng.choice([1, 1, 2, 3, 12], size=k).tolist()
        reruns = [Reruns(n, n, float(spread * rng.random()) if n > 1 else math.nan) for n in numbers]
    return lds_k, influence_kM, in_family_k, int(rng.choice([lds_k.argmax(), rng.integers(k)])), reruns


@pytest.mark.parametrize("seed", range(150))
def test_board_equals_sorting_the_p_values_of_all_pairs(seed: int) -> None:
    board = random_board(seed)
    assert rank_board(*board) == plain_board(*board)


@pytest.mark.parametrize("k", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_board_of_several_blocks_equals_sorting_the_p_values(k: int, rng: np.random.Generator) -> None:
    influence_kM = 0.3 * rng.normal(size=200) + 0.1 * rng.normal(size=(k, 200))
    lds_k = 0.1 * rng.normal(size=k)
    for share in (1.0, 0.5):
        in_family_k = rng.random(k) < share
        expected = plain_board(lds_k, influence_kM, in_family_k, 3)
        assert rank_board(lds_k, influence_kM, in_family_k, 3) == expected
        assert len({standing.rank_low for standing in expected}) > k / 10


def boards_at_the_limit(M: int = 400) -> list[tuple[Floats, Floats]]:
    """Return boards of two entries whose p-value is the limit, or next to it: steps of one bit of the LDS around it."""
    influence_kM = np.random.default_rng(9).normal(size=(2, M))
    squares = cdist(influence_kM[:1], influence_kM[1:], "sqeuclidean").item()
    step = math.sqrt(squares / (M * (M - 1))) * float(stats.t.isf(0.025, M - 1))
    return [(np.array([step + bits * math.ulp(step), 0.0]), influence_kM) for bits in range(-400, 401, 8)]


def test_decisions_next_to_the_limit_are_those_of_the_p_value() -> None:
    # A product of matrices is too inexact to decide these boards.
    decided = []
    for lds_k, influence_kM in boards_at_the_limit():
        board = (lds_k, influence_kM, np.ones(2, dtype=np.bool_), 0)
        assert rank_board(*board) == plain_board(*board)
        decided.append(rank_board(*board)[0].rank_high == 1)
    assert {True, False} == set(decided)


def test_pair_next_to_its_limit_counts_for_the_next_pair() -> None:
    # With three pairs, the second pair is decided with the limit .05 / 2 if the first pair is decided with .05 / 3.
    M = 1000
    influence_kM = np.zeros((3, M))
    influence_kM[0, :2] = influence_kM[1, 2:4] = influence_kM[2, 4:6] = [1, -1]
    step = math.sqrt(4 / (M * (M - 1))) * float(stats.t.isf(0.05 / 6, M - 1))
    decided = []
    for bits in range(-400, 401, 8):
        board = ([step + bits * math.ulp(step), 0.03 * step, 0.0], influence_kM, np.ones(3, dtype=np.bool_), 0)
        assert rank_board(*board) == plain_board(*board)
        decided.append(rank_board(*board)[0].rank_high)
    assert set(decided) == {1, 3}


@pytest.mark.parametrize("common", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-5, 1e-8])
@pytest.mark.parametrize("averaged", [1, 3])
def test_evidence_is_right_up_to_its_tolerance(
    common: float, distance: float, averaged: int, rng: np.random.Generator
) -> None:
    M, k = 500, 60
    influence_kM = common * rng.normal(size=M) + distance * rng.normal(size=(k, M))
    lds_k = 0.15 * distance * rng.normal(size=k)
    near = distance * 10 ** rng.uniform(-6, 0, size=k // 2)  # every second entry is near the one before
    influence_kM[1::2] = influence_kM[::2] + near[:, None] * rng.normal(size=(k // 2, M))
    lds_k[1::2] = lds_k[::2] + near * rng.uniform(2.2, 4.5, size=k // 2) / math.sqrt(M)
    reruns = [Reruns(averaged, averaged, 0.01 * distance if averaged > 1 else math.nan)] * k
    tests = PairTests(lds_k, influence_kM, reruns, 0.05, 1e-6)
    everyone = np.arange(k)
    a, b = np.triu_indices(k, 1)
    p = tests.p_values(a, b)
    exact = np.square(stats.t.isf(p / 2, M - 1))
    found = tests.evidence(everyone, everyone)[a, b]
    in_range = (p <= 0.05) & (p >= 1e-6)
    assert in_range.sum() > 20
    assert np.max(np.abs(found / exact - 1)[in_range]) < tests.tolerance / 4
    # Beyond the limits, the evidence is beyond that of the limits, too.
    assert (found[p > 0.05] < tests.bounds(0.05)[1]).all()
    assert (found[p < 1e-6] > tests.bounds(1e-6)[0]).all()


@pytest.mark.parametrize("limit", [0.05, 1e-4, 1e-11])
@pytest.mark.parametrize("M", [2, 3, 8, 800, 10_000])
def test_bounds_enclose_the_limit(limit: float, M: int, rng: np.random.Generator) -> None:
    low, high = PairTests(np.zeros(2), rng.normal(size=(2, M)), None, 0.05, 1e-11).bounds(limit)
    assert low < high <= low * (1 + 1e-7)
    assert 2 * stats.t.sf(math.sqrt(low), M - 1) > limit > 2 * stats.t.sf(math.sqrt(high), M - 1)


@pytest.mark.parametrize("averaged", [1, 3])
def test_counts_at_limits_that_are_p_values_are_exact(averaged: int, rng: np.random.Generator) -> None:
    k = 30
    influence_kM, lds_k = rng.normal(size=(k, 100)), 0.3 * rng.normal(size=k)
    reruns = [Reruns(averaged, averaged, 0.01 if averaged > 1 else math.nan)] * k
    tests = PairTests(lds_k, influence_kM, reruns, 0.05, 1e-9)
    family = _Family(tests, np.arange(k))
    p = tests.p_values(*np.triu_indices(k, 1))
    for chosen in rng.permutation(p[(p < 0.05) & (p > 1e-9)])[:40]:
        for limit in (float(chosen), math.nextafter(chosen, 0)):
            assert family._count_certain(limit) + family._count_near(limit) == np.count_nonzero(p <= limit)


def test_one_subset_has_no_bounds() -> None:
    low, high = PairTests(np.zeros(2), np.ones((2, 1)), None, 0.05, 1e-11).bounds(0.05)
    assert math.isnan(low)
    assert math.isnan(high)


def test_inexact_quantiles_widen_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Versions of SciPy find quantiles with different accuracy.
    exact = scipy.special.stdtrit
    monkeypatch.setattr(scipy.special, "stdtrit", lambda degrees, p: exact(degrees, p) * (1 + 1e-7))
    for board in boards_at_the_limit():
        low, high = PairTests(*board, None, 0.05, 0.05).bounds(0.05)
        assert low < exact(399, 0.025) ** 2 < high
        assert rank_board(*board, np.ones(2, dtype=np.bool_), 0) == plain_board(*board, np.ones(2, dtype=np.bool_), 0)


def test_reruns_with_more_degrees_of_freedom_than_subsets_can_decide_a_pair() -> None:
    # As single files, the two entries have p = .0505. With half of the variance from reruns, z is smaller, and p is .036.
    influence_kM = np.array([[0.5, -0.5], [-0.5, 0.5]])
    reruns = [Reruns(20, 20, math.sqrt(10))] * 2
    board = ([12.6, 0.0], influence_kM, np.ones(2, dtype=np.bool_), 0)
    assert rank_board(*board)[0].rank_high == 2
    assert rank_board(*board, reruns)[0].rank_high == 1
    assert rank_board(*board, reruns) == plain_board(*board, reruns)
