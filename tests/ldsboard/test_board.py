"""Rank intervals of a board, and the entries that are separated from the first.

Legend: M subsets, k entries.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard.core.board import Standing, rank_board
from ldsboard.core.comparison import compare_influences

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
