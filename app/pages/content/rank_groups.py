"""What rank intervals say: who is best, whether that is certain, and which entries cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.leaderboard.entries import Entry
    from app.leaderboard.schemas import Row


@dataclass(frozen=True)
class Verdict:
    """The first two entries of a board; of all entries at once, the ranks tell whether the first is better.

    ``tied`` is the number of entries that the first is not significantly better than.
    """

    first: Row
    second: Row | None
    tied: int
    beats_second: bool


def verdict(rows: Sequence[Row]) -> Verdict | None:
    """Return what the first two rows of a whole board, best first, say of its top; nothing of one without entries."""
    if not rows:
        return None
    first, second = rows[0], rows[1] if len(rows) > 1 else None
    # Nobody but the first has a higher score than the second: if anybody is significantly better than that, it is the first.
    beats = second is not None and second.rank[0] > 1
    return Verdict(first, second, first.rank[1] - 1, beats)


def rivals(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of a whole board that the first is to be compared with.

    That is the second; and, where their ranks overlap, the best of those that are ranked below the first for certain.
    """
    second, reach = entries[1:2], entries[0].rank_high or 0 if entries else 0
    below = next(([entry] for entry in entries[2:] if (entry.rank_low or 0) > reach), [])
    return [*second, *below] if second and (second[0].rank_low or 0) <= reach else [*second]


def groups(entries: Sequence[Entry]) -> dict[str, int]:
    """Return the group of each entry of a board, by id: neighbours are in one where their rank intervals overlap."""
    found: dict[str, int] = {}
    group, reach = 0, 0
    for entry in entries:
        low, high = entry.rank_low or 0, entry.rank_high or 0
        if low > reach:
            group += 1
        found[entry.id] = group
        reach = max(reach, high)
    return found
