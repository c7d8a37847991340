"""Conclusions from rank intervals: the best entry, the entries that are not significantly worse, and rank groups."""

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
        Number of other entries that are not significantly worse than the first entry; None on a board without ranks.
    beats_second
        Whether the first entry is significantly better than the second, with Holm's correction over all pairs of entries.
    """

    first: Row
    second: Row | None
    tied: int | None
    beats_second: bool


def verdict(rows: Sequence[Row]) -> Verdict | None:
    """Return the verdict on the rows of an unfiltered board, best first; None if the board is empty."""
    if not rows:
        return None
    first, second = rows[0], rows[1] if len(rows) > 1 else None
    if first.rank is None:
        return Verdict(first, second, tied=None, beats_second=False)
    # If an entry is significantly better than the second, that entry is the first, and the second rank interval starts after 1.
    beats_second = second is not None and second.rank is not None and second.rank[0] > 1
    return Verdict(first, second, first.rank[1] - 1, beats_second)


def rivals(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of an unfiltered board to compare with the first entry.

    The result holds the second entry. If the rank intervals of the first two entries overlap, the result also holds the best
    entry whose rank interval does not overlap the first entry's.
    """
    second, reach = entries[1:2], entries[0].rank_high or 0 if entries else 0
    below = next(([entry] for entry in entries[2:] if (entry.rank_low or 0) > reach), [])
    return [*second, *below] if second and (second[0].rank_low or 0) <= reach else [*second]


def groups(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the rank group of each entry by entry id. Groups are numbered from 1, from the best entries down."""
    group_of: dict[str, int] = {}
    group, reach = 0, 0
    for entry in entries:
        low, high = entry.rank_low or 0, entry.rank_high or 0
        if low > reach:
            group += 1
        group_of[entry.id] = group
        reach = max(reach, high)
    return group_of
