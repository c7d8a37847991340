"""Ranks of the entries of a leaderboard, and the entries that cannot be separated from the first.

Legend: k entries, f entries of the family, o entries outside the family, b entries of a block, M subsets.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ldsboard.core.pair_tests import PairTests, p_values
from ldsboard.core.parallel import map_in_order, usable_processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ldsboard.core.replicates import Reruns

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Indices = NDArray[np.intp]

Item = TypeVar("Item")
Done = TypeVar("Done")

FAMILY_ERROR = 0.05
"""Nominal probability that a board has a wrong rank interval, and that an entry is wrongly separated from the first."""

WINDOW = 1e-4
"""Relative distance of the evidence of pairs whose p-values are kept, from the pairs whose p-values are needed."""

BLOCK = 128
"""Number of entries that a thread compares with others at once."""


class Standing(NamedTuple):
    """The rank interval of an entry, with rank 1 for the best, and whether the entry is significantly worse than the first entry.

    For the first entry, ``separable_from_first`` is None.
    """

    rank_low: int
    rank_high: int
    separable_from_first: bool | None


def rank_board(
    lds: Sequence[float] | Floats,
    influence_kM: Floats,
    in_family_k: Bools,
    first: int,
    reruns: Sequence[Reruns] | None = None,
) -> list[Standing]:
    """Return the rank interval of each entry, and whether the entry can be separated from the first entry.

    **Rank.** The paired test of `compare_influences` is applied to every pair of entries of the family, with Holm's correction at
    5 % over these pairs. All rank intervals of the family are therefore correct at the same time with a probability of at least
    95 %. The interval of an entry reaches from 1 + the number of significantly better entries to f - the number of significantly
    worse entries. An entry outside the family has the interval that the entry would have if it alone joined the family, and
    changes no other interval.

    **Separable from the first.** The first entry is compared with each of the other entries of the family. The entry with the
    smallest p-value is separated if p <= 0.05 / (s (s - 1) / 2), where s counts the first entry and all entries that are not
    separated yet. Then the next entry is tested, until one is not separated. The limit allows for all pairs of the s entries,
    because the result decides which entry is the first. Entries that the rank tests find significantly worse than the first are
    separated too. An entry outside the family is tested as if it alone joined the family.

    Parameters
    ----------
    lds
        LDS of the k entries; for an entry with replicates, the mean over its replicates.
    influence_kM
        psi, the influence of each subset on the LDS of each entry, float64 (k, M); likewise the mean over replicates.
    in_family_k
        Which entries the ranks count, bool (k,).
    first
        Index of the entry that the board lists first. It may be outside the family.
    reruns
        The replicates of each entry; by default, every entry is one file. If at least one entry of a pair has
        `FEWEST_REPLICATES` or more replicates, the test of the pair uses the standard error of `add_reruns` and the p-value of
        `rerun_p_values`.

    Returns
    -------
    list of Standing
        One standing for each entry, in the order of `lds`.
    """
    if len(lds) == 0:
        return []
    k, M = influence_kM.shape
    lds_k = np.asarray(lds, dtype=np.float64)
    inside, outside = np.flatnonzero(in_family_k), np.flatnonzero(~in_family_k)
    f = inside.size
    tests = PairTests(lds_k, influence_kM, reruns, FAMILY_ERROR, FAMILY_ERROR / max(1, f * (f + 1) // 2))
    family = _Family(tests, inside)

    # The numbers of significantly better and of significantly worse entries.
    losses_k, wins_k = np.zeros((2, k), dtype=np.int64)
    below_first_k = np.zeros(k, dtype=np.bool_)
    for own, others, is_better, is_worse in chain(family.decisions(), family.decisions_outside(outside)):
        wins_k[own] += np.count_nonzero(is_better, axis=1)
        losses_k[own] += np.count_nonzero(is_worse, axis=1)
        if in_family_k[own[0]]:  # the pairs of the family are decided once, for both of their entries
            losses_k[others] += np.count_nonzero(is_better, axis=0)
            wins_k[others] += np.count_nonzero(is_worse, axis=0)
        below_first_k[others] |= is_better[own == first].any(axis=0)
        below_first_k[own] |= is_worse[:, others == first].any(axis=1)

    lead_k = lds_k[first] - lds_k
    squares_k = np.square(influence_kM - influence_kM[first]).sum(axis=1)
    known = tests.known
    p_first_k = p_values(lead_k, squares_k, M, known and known.between(np.array([first]), np.arange(k)))
    below_first_k |= _separated(p_first_k, in_family_k, first) & (lead_k > 0)
    size_k = f + ~in_family_k  # the number of entries among which an entry is ranked
    return [
        Standing(1 + int(losses_k[i]), int(size_k[i] - wins_k[i]), None if i == first else bool(below_first_k[i]))
        for i in range(k)
    ]


class _Pairs(NamedTuple):
    """The pairs of each of some entries `own` with each of some entries `others`, and their evidence, (own, others).

    Combinations that are no pairs have the evidence -1.
    """

    own: Indices
    others: Indices
    evidence: Floats


class _Window(NamedTuple):
    """The evidence and the p-values of all pairs of a family whose evidence is at least `low` and less than `high`."""

    low: float
    high: float
    evidence: Floats
    p: Floats


class _Decided(NamedTuple):
    """Which of the entries `own` are significantly better or worse than which of the entries `others`, bool (own, others)."""

    own: Indices
    others: Indices
    is_better: Bools
    is_worse: Bools


class _Family:
    """All pairs of a family, and Holm's step-down procedure.

    The procedure rejects the hypotheses of all pairs whose p-value is at most .05 / (P - r), where P is the number of pairs. r is
    the smallest number such that exactly r p-values are at most .05 / (P - r). It is found by counting: for every number up to r,
    the count of the p-values that are at most its limit is at most r too.
    """

    def __init__(self, tests: PairTests, inside: Indices) -> None:
        self._tests, self._inside = tests, inside
        self._count = inside.size * (inside.size - 1) // 2
        self._blocks = list(_map(self._pairs, range(0, inside.size, BLOCK)))
        least, _ = tests.bounds(FAMILY_ERROR)  # with less evidence, no pair is ever decided
        found = [pairs.evidence[pairs.evidence >= least] for pairs in self._blocks]
        self._sorted = np.concatenate([*found, np.empty(0)])
        self._sorted.sort()
        self._window = _Window(math.inf, -math.inf, np.empty(0), np.empty(0))

    def _pairs(self, start: int) -> _Pairs:
        """Return the pairs of a block of entries, each with all later entries."""
        own, others = self._inside[start : start + BLOCK], self._inside[start:]
        evidence = self._tests.evidence(own, others)
        evidence[np.tri(*evidence.shape, dtype=np.bool_)] = -1
        return _Pairs(own, others, evidence)

    def decisions(self) -> Iterator[_Decided]:
        """Yield the decisions on all pairs; each pair is in one of its two orders only."""
        limit = self._limit(self._count, 0)
        for pairs in self._blocks:
            yield self._decide(pairs, limit)

    def decisions_outside(self, outside: Indices) -> Iterator[_Decided]:
        """Yield the decisions on the pairs of each entry outside with the family, as if the entry alone joined the family."""
        count = self._count + self._inside.size
        # The pairs of an entry only add to the counts of the family, so that one search begins where the other ended.
        limit = self._limit(count, 0)
        rejected = self._count_certain(limit) + self._count_near(limit)
        blocks = np.split(outside, range(BLOCK, outside.size, BLOCK))
        found = _map(lambda own: self._tests.evidence(own, self._inside), blocks)
        for own, evidence in zip(blocks, found, strict=True):
            for row in range(own.size):
                pairs = _Pairs(own[row : row + 1], self._inside, evidence[row : row + 1])
                yield self._decide(pairs, self._limit(count, rejected, pairs))

    def _limit(self, count: int, rejected: int, joined: _Pairs | None = None) -> float:
        """Return the limit up to which Holm's procedure rejects p-values of the family and joined pairs, `count` pairs in all.

        `rejected` is a number of pairs that the procedure certainly rejects.
        """
        while rejected < count:
            limit = FAMILY_ERROR / (count - rejected)
            found = self._count_certain(limit, joined)
            if found <= rejected:  # before that, counts need not be exact
                found += self._count_near(limit, joined)
            if found <= rejected:
                return limit
            rejected = found
        return FAMILY_ERROR

    def _count_certain(self, limit: float, joined: _Pairs | None = None) -> int:
        """Return how many pairs have so much evidence that their p-values are certainly at most `limit`."""
        _, high = self._tests.bounds(limit)
        own = 0 if joined is None else np.count_nonzero(joined.evidence >= high)
        return self._sorted.size - int(np.searchsorted(self._sorted, high)) + int(own)

    def _count_near(self, limit: float, joined: _Pairs | None = None) -> int:
        """Return how many of the pairs whose evidence is close to `limit` have p-values up to `limit`."""
        low, high = self._tests.bounds(limit)
        own = 0 if joined is None else np.count_nonzero(self._near(joined, low, high)[2] <= limit)
        if np.searchsorted(self._sorted, low) == np.searchsorted(self._sorted, high):
            return int(own)
        if not self._window.low <= low <= high <= self._window.high:
            # Search all pairs once, because the limits of the entries outside are close together.
            found = [self._near(pairs, low * (1 - WINDOW), high * (1 + WINDOW)) for pairs in self._blocks]
            evidence = [
                pairs.evidence[rows, columns] for pairs, (rows, columns, _) in zip(self._blocks, found, strict=True)
            ]
            p = np.concatenate([p for _, _, p in found])
            self._window = _Window(low * (1 - WINDOW), high * (1 + WINDOW), np.concatenate(evidence), p)
        is_near = (self._window.evidence >= low) & (self._window.evidence < high)
        return int(np.count_nonzero(is_near & (self._window.p <= limit)) + own)

    def _near(self, pairs: _Pairs, low: float, high: float) -> tuple[Indices, Indices, Floats]:
        """Return the places of the pairs whose evidence is at least `low` and less than `high`, and their p-values."""
        rows, columns = np.nonzero((pairs.evidence >= low) & (pairs.evidence < high))
        return rows, columns, self._tests.p_values(pairs.own[rows], pairs.others[columns])

    def _decide(self, pairs: _Pairs, limit: float) -> _Decided:
        low, high = self._tests.bounds(limit)
        is_decided = pairs.evidence >= high
        rows, columns, p = self._near(pairs, low, high)
        is_decided[rows, columns] = p <= limit
        difference = self._tests.differences(pairs.own, pairs.others)
        return _Decided(pairs.own, pairs.others, is_decided & (difference > 0), is_decided & (difference < 0))


def _map(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Done]:
    """Yield ``work(item)`` for each item in order, computed by several threads if there are several items.

    A single item goes through `map_in_order` too: after a product by several BLAS threads, these keep processors busy for 60 ms.
    """
    return map_in_order(work, items, max(1, min(usable_processors(), len(items))))


def _first_above(sorted_p: Floats, limit: Floats) -> float:
    """Return the first of the p-values that is above its limit, or infinity."""
    above = sorted_p > limit
    return float(sorted_p[above.argmax()]) if above.any() else math.inf


def _separated(p_k: Floats, in_family_k: Bools, first: int) -> Bools:
    """Return which entries are separated from the first entry by the step-down procedure of `rank_board`, bool (k,).

    Parameters
    ----------
    p_k
        The p-value of each entry against the first entry; the value of the first entry is not used.
    """
    is_other = in_family_k.copy()
    is_other[first] = False
    sorted_p = np.sort(p_k[is_other])
    left = np.arange(sorted_p.size + 1, 0, -1)  # entries that are not separated yet, without the first entry
    separated_k: Bools = p_k < _first_above(sorted_p, FAMILY_ERROR / _pairs(left[1:] + 1))
    # With an entry outside the family, one more entry is left at every step.
    limit = FAMILY_ERROR / _pairs(left + 1)
    joined_k = (p_k <= _first_above(sorted_p, limit[:-1])) & (p_k <= limit[np.searchsorted(sorted_p, p_k)])
    return np.where(in_family_k, separated_k, joined_k)


def _pairs(entries: NDArray[np.int64]) -> NDArray[np.int64]:
    return entries * (entries - 1) // 2
