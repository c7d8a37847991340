"""Pairs of entries on whose order the LDS and the fall disagree."""

from __future__ import annotations

from enum import Enum
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from app.leaderboard.entries import Entry, comparable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ENTRIES, MAX_PAIRS = 100, 5
"""How many entries are compared, the best first, and how many pairs are named."""


class Kind(Enum):
    """How the two numbers disagree; kinds that come first are named first."""

    OPPOSITE = "each number puts another entry first"
    ONLY_FALL = "only the ranks by fall do not overlap"
    ONLY_LDS = "only the ranks by LDS do not overlap"


class Disagreement(NamedTuple):
    """A pair of entries: `better` is better by the number that `kind` names, in `Kind.OPPOSITE` by the LDS."""

    kind: Kind
    better: Entry
    worse: Entry


def disagreements(entries: Sequence[Entry]) -> list[Disagreement]:
    """Return the pairs whose rank intervals overlap for one number only, or are in opposite order; the widest gaps first.

    `entries` are all entries of a board with their falls, best first.
    """
    ranked = [entry for entry in comparable(entries) if entry.fall is not None and entry.fall.rank][:MAX_ENTRIES]
    found = []
    for a, b in combinations(ranked, 2):
        by_lds, by_fall = _gap(_lds_rank(a), _lds_rank(b)), _gap(_fall_rank(a), _fall_rank(b))
        if by_lds * by_fall < 0:
            better, worse = (a, b) if by_lds > 0 else (b, a)
            found.append((abs(by_lds) + abs(by_fall), Disagreement(Kind.OPPOSITE, better, worse)))
        elif (by_lds == 0) != (by_fall == 0):
            kind, gap = (Kind.ONLY_FALL, by_fall) if by_fall else (Kind.ONLY_LDS, by_lds)
            better, worse = (a, b) if gap > 0 else (b, a)
            found.append((abs(gap), Disagreement(kind, better, worse)))
    order = list(Kind)
    found.sort(key=lambda each: (order.index(each[1].kind), -each[0]))
    return [each for _, each in found[:MAX_PAIRS]]


def _gap(a: tuple[int, int], b: tuple[int, int]) -> int:
    """Return by how many ranks a is better than b, negative if it is worse; 0 if the intervals overlap."""
    if a[1] < b[0]:
        return b[0] - a[1]
    return min(0, b[1] - a[0])


def _lds_rank(entry: Entry) -> tuple[int, int]:
    return entry.rank_low or 0, entry.rank_high or 0


def _fall_rank(entry: Entry) -> tuple[int, int]:
    return (entry.fall and entry.fall.rank) or (0, 0)
