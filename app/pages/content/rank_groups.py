"""Conclusions from the tests of a board: the best entry, the entries that are not significantly worse, and rank groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.leaderboard.entries import Entry
from app.leaderboard.schemas import Row


class Verdict(NamedTuple):
    """The first two entries of a board, and how the first entry compares with the others.

    Attributes
    ----------
    tied
        Number of other entries that are not separable from the first entry; None on a board without ranks.
    beats_second
        Whether the second entry is separable from the first.
    """

    first: Row
    second: Row | None
    tied: int | None
    beats_second: bool


def verdict(rows: Sequence[Row], entries: Sequence[Entry]) -> Verdict | None:
    """Return the verdict on the `comparable` entries of an unfiltered board; None if there are none.

    Parameters
    ----------
    rows
        The rows of at least the first two entries.
    entries
        The `comparable` entries, best first.
    """
    if not rows:
        return None
    first, second = rows[0], rows[1] if len(rows) > 1 else None
    if first.rank is None:
        return Verdict(first, second, tied=None, beats_second=False)
    tied = sum(1 for entry in entries[1:] if not entry.separable_from_first)
    return Verdict(first, second, tied, second is not None and bool(second.separable_from_first))


def rivals(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries to compare with the first entry, from the `comparable` entries of an unfiltered board.

    The result holds the second entry. If the second entry is not separable from the first, the result also holds the best entry
    that is separable from the first. Missing entries are left out.
    """
    second = entries[1:2]
    below = [] if second and second[0].separable_from_first else [e for e in entries[2:] if e.separable_from_first][:1]
    return [*second, *below]


def groups(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the rank group of each entry by entry id. Groups are numbered from 1, from the best entries down.

    An entry outside the family is a group of its own, with a negative number: the entry can differ significantly from a counted
    entry with an equal rank. An entry that is declared as fitted to the ranking subsets also is a group of its own.
    """
    group_of: dict[str, int] = {}
    group, reach = 0, 0
    for place, entry in enumerate(entries):
        if entry.in_family is False or entry.uses_subsets:
            group_of[entry.id] = -1 - place
            continue
        low, high = entry.rank_low or 0, entry.rank_high or 0
        if low > reach:
            group += 1
        group_of[entry.id] = group
        reach = max(reach, high)
    return group_of
