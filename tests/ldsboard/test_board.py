"""Rank intervals of a board, and the entries that are separated from the first.

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

from ldsboard.core.board import BLOCK, Standing, _Family, rank_board
from ldsboard.core.comparison import compare_influences
from ldsboard.core.pair_tests import PairTests
from ldsboard.core.replicates import Reruns
from tests.ldsboard.plain_board import plain_board

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def rank_intervals(lds: Sequence[float], influence_kM: Floats) -> list[tuple[int, int]]:
    """Return the rank intervals of a board whose entries are all in the family."""
    standings = rank_board(lds, influence_kM, np.ones(len(lds), dtype=np.bool_), 0)
    return [(standing.rank_low, standing.rank_high) for standing in standings]


def naive_intervals(lds: Sequence[float], influence_kM: Floats) -> list[tuple[int, int]]:
    """Compute rank intervals by applying Holm's procedure to one pair after another."""
    k = len(lds)
    decided = naive_decisions(lds, influence_kM, range(k))
    better = [sum(loser == i for _, loser in decided) for i in range(k)]
    worse = [sum(winner == i for winner, _ in decided) for i in range(k)]
    return [(1 + better[i], k - worse[i]) for i in range(k)]


def naive_decisions(
    lds: Sequence[float] | Floats, influence_kM: Floats, entries: Iterable[int]
) -> set[tuple[int, int]]:
    """Return the pairs (better entry, worse entry) of `entries` that Holm's procedure decides."""
    entries = list(entries)
    pairs = []
    for place, i in enumerate(entries):
        for j in entries[place + 1 :]:
            comparison = compare_influences(lds[i] - lds[j], influence_kM[i], influence_kM[j])
            pairs.append((comparison.p_value, *((i, j) if comparison.difference > 0 else (j, i))))
    decided = set()
    for place, (p_value, winner, loser) in enumerate(sorted(pairs)):
        if p_value > 0.05 / (len(pairs) - place):
            break
        decided.add((winner, loser))
    return decided


def naive_board(
    lds: Sequence[float] | Floats, influence_kM: Floats, in_family_k: NDArray[np.bool_], first: int
) -> list[Standing]:
    """Rank each entry on a board of the family and this entry alone, and separate entries one after another."""
    family = np.flatnonzero(in_family_k).tolist()
    standings = []
    for i in range(len(lds)):
        joined = sorted({*family, i})
        decided = naive_decisions(lds, influence_kM, joined)
        low, high = 1 + sum(loser == i for _, loser in decided), len(joined) - sum(winner == i for winner, _ in decided)
        if i == first:
            standings.append(Standing(low, high, None))
            continue
        tests = sorted(
            (compare_influences(lds[first] - lds[j], influence_kM[first], influence_kM[j]).p_value, j)
            for j in {*family, i} - {first}
        )
        separated = set()
        for place, (p_value, j) in enumerate(tests):
            left = len(tests) + 1 - place
            if p_value > 0.05 / (left * (left - 1) / 2):
                break
            separated.add(j)
        # The first entry belongs to no pair of an entry's board if both are outside the family.
        worse = (i in separated and lds[i] < lds[first]) or (first, i) in decided
        if first not in family and i in family:
            worse |= (first, i) in naive_decisions(lds, influence_kM, sorted({*family, first}))
        standings.append(Standing(low, high, worse))
    return standings


@pytest.mark.parametrize("k", [2, 3, 6, 15])
@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
def test_rank_intervals_equal_plain_loop(k: int, spread: float, rng: np.random.Generator) -> None:
    influence_kM = rng.normal(size=(1, 60)) + 0.3 * rng.normal(size=(k, 60))
    lds = (spread * rng.normal(size=k)).tolist()
    intervals = rank_intervals(lds, influence_kM)
    assert intervals == naive_intervals(lds, influence_kM)
    assert all(1 <= low <= high <= k for low, high in intervals)
    if spread == 0.5:
        assert intervals != [(1, k)] * k


def test_rank_intervals_of_no_entry_and_one_entry() -> None:
    assert rank_intervals([], np.zeros((0, 10))) == []
    assert rank_intervals([0.3], np.ones((1, 10))) == [(1, 1)]


def test_rank_intervals_of_equal_entries_are_equal(rng: np.random.Generator) -> None:
    psi_M, other_M = rng.normal(size=(2, 200))
    influence_kM = np.stack([psi_M, other_M, psi_M])
    assert rank_intervals([0.9, 0.1, 0.9], influence_kM) == [(1, 2), (3, 3), (1, 2)]
    assert rank_intervals([0.5, 0.5, 0.5], influence_kM) == [(1, 3)] * 3


def test_rank_intervals_without_errors_follow_values() -> None:
    assert rank_intervals([0.1, 0.3, 0.2, 0.3], np.zeros((4, 10))) == [(4, 4), (1, 2), (3, 3), (1, 2)]


def test_rank_intervals_stop_at_first_insignificant_pair() -> None:
    # With three pairs, the smallest p must be below .05 / 3. It is .02 here, so Holm's procedure decides no pair, not even
    # the second pair, whose p is below .05 / 2.
    M = 1000
    influence_kM = np.zeros((3, M))
    influence_kM[0, :2] = influence_kM[1, 2:4] = influence_kM[2, 4:6] = [1, -1]
    error = math.sqrt(4 / (M * (M - 1)))
    step = error * float(stats.t.isf(0.01, M - 1))
    assert rank_intervals([step, 0, 0.0], influence_kM) == [(1, 3)] * 3
    assert rank_intervals([step, 0], influence_kM[:2]) == [(1, 1), (2, 2)]


def test_rank_intervals_of_nearly_equal_entries_agree_with_compare() -> None:
    influence_kM = np.zeros((2, 800))
    influence_kM[:] = np.random.default_rng(5).normal(size=800)
    influence_kM[1, :2] += (1e-8, -1e-8)
    pair = compare_influences(1e-11, *influence_kM)
    assert pair.p_value > 0.05
    assert rank_intervals([0.5 + 1e-11, 0.5], influence_kM) == [(1, 2), (1, 2)]


@pytest.mark.parametrize("seed", range(40))
def test_board_equals_plain_loop_over_every_entry(seed: int) -> None:
    rng = np.random.default_rng([31, seed])
    k = int(rng.integers(2, 14))
    influence_kM = rng.normal(size=(1, 60)) + rng.uniform(0.05, 0.5, size=(k, 1)) * rng.normal(size=(k, 60))
    lds = rng.choice([0.02, 0.08, 0.3]) * rng.normal(size=k)
    lds[rng.integers(k)] = lds[0]  # equal values
    in_family_k = rng.random(k) < rng.choice([0.3, 0.7])
    in_family_k[rng.integers(k)] = True
    first = int(np.argmax(lds))
    assert rank_board(lds, influence_kM, in_family_k, first) == naive_board(lds, influence_kM, in_family_k, first)


def test_entries_outside_the_family_change_no_standing_of_the_family(rng: np.random.Generator) -> None:
    influence_kM = rng.normal(size=(1, 60)) + 0.3 * rng.normal(size=(60, 60))
    lds = np.concatenate([np.linspace(0.3, 0.1, 10), 0.05 + 0.01 * rng.normal(size=50)])
    in_family_k = np.arange(60) < 10
    board = rank_board(lds, influence_kM, in_family_k, 0)
    assert board[:10] == rank_board(lds[:10], influence_kM[:10], in_family_k[:10], 0)
    # With the same 50 entries in the family, the intervals are wider.
    widened = rank_board(lds, influence_kM, np.ones(60, dtype=np.bool_), 0)
    assert sum(s.rank_high - s.rank_low for s in widened[:10]) > sum(s.rank_high - s.rank_low for s in board[:10])


def test_entry_outside_the_family_has_no_advantage(rng: np.random.Generator) -> None:
    # The interval of an entry is the same whether the entry belongs to the family or joins the family.
    influence_kM = rng.normal(size=(1, 60)) + 0.3 * rng.normal(size=(8, 60))
    lds = np.linspace(0.3, 0.0, 8)
    whole = rank_board(lds, influence_kM, np.ones(8, dtype=np.bool_), 0)
    for left_out in range(8):
        assert rank_board(lds, influence_kM, np.arange(8) != left_out, 0)[left_out] == whole[left_out]


def test_limit_of_the_first_separation_allows_for_all_pairs() -> None:
    # With three entries, the first separation needs p <= .05 / 3, and the second p <= .05.
    M = 1000
    influence_kM = np.zeros((3, M))
    influence_kM[0, :2] = influence_kM[1, 2:4] = influence_kM[2, 4:6] = [1, -1]
    error = math.sqrt(4 / (M * (M - 1)))

    def separable(p_second: float, p_third: float) -> list[bool | None]:
        steps = [error * float(stats.t.isf(p / 2, M - 1)) for p in (p_second, p_third)]
        board = rank_board([0.0, -steps[0], -steps[1]], influence_kM, np.ones(3, dtype=np.bool_), 0)
        return [standing.separable_from_first for standing in board]

    assert separable(0.02, 0.018) == [None, False, False]
    assert separable(0.02, 0.016) == [None, True, True]
    assert separable(0.051, 0.016) == [None, False, True]


def test_entry_that_is_better_than_the_first_is_not_separated() -> None:
    # Published values may be equal where exact values differ, so that the first entry need not have the highest value.
    assert [
        s.separable_from_first for s in rank_board([0.5, 0.6], np.zeros((2, 10)), np.ones(2, dtype=np.bool_), 0)
    ] == [
        None,
        False,
    ]


def test_entry_that_the_rank_tests_decide_is_separated() -> None:
    # The second and third entry differ without an error. Holm's procedure then decides the pair of
    # the first and the third entry, whose p is .02, with the limit .05 / 2. The limit of the first separation is .05 / 3.
    M = 1000
    influence_kM = np.zeros((3, M))
    influence_kM[0, :2] = influence_kM[1, 2:4] = influence_kM[2, 2:4] = [1, -1]
    step = math.sqrt(4 / (M * (M - 1))) * float(stats.t.isf(0.01, M - 1))
    board = rank_board([0.0, -0.5 * step, -step], influence_kM, np.ones(3, dtype=np.bool_), 0)
    assert board == [Standing(1, 2, None), Standing(1, 2, False), Standing(3, 3, True)]


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
