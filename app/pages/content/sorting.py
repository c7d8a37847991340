"""Filtering, sorting and paging of a leaderboard, as given in the query string."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.leaderboard.entries import Entry

Column = Literal["rank", "lds", "ceiling", "cost", "attempts", "date"]
Order = Literal["asc", "desc"]

DEFAULT_ORDER: dict[Column, Order] = {
    "rank": "asc",
    "lds": "desc",
    "ceiling": "desc",
    "cost": "asc",
    "attempts": "asc",
    "date": "desc",
}
"""Order in which a column is first sorted; selecting the column again reverses it."""


@dataclass(frozen=True)
class LeaderboardQuery:
    """The query parameters of a leaderboard page; `version` is None if the query string has none."""

    sort: Column = "rank"
    order: Order | None = None
    q: str = ""
    tag: str = ""
    version: int | None = None
    after: int = 0

    @property
    def direction(self) -> Order:
        """The order, by default the `DEFAULT_ORDER` of the sorted column."""
        return self.order or DEFAULT_ORDER[self.sort]

    @property
    def is_filtered(self) -> bool:
        """Whether a search or a tag may exclude entries."""
        return bool(self.q.strip() or self.tag)

    @property
    def is_ranking(self) -> bool:
        """Whether entries are sorted by rank, best first."""
        return self.sort in ("rank", "lds", "ceiling") and self.direction == DEFAULT_ORDER[self.sort]

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the matching entries in the requested order.

        Parameters
        ----------
        entries
            All entries of the board, best first.
        """
        words = self.q.casefold().split()
        matching = [
            entry for entry in entries if self._has_tag(entry) and all(word in _searched_text(entry) for word in words)
        ]
        reverse = self.direction == "desc"
        # Without a sort key, keep the order of the board, which also decides between equal LDS.
        if (sort_key := SORT_KEYS.get(self.sort)) is None:
            return matching if self.is_ranking else matching[::-1]
        known = [(value, entry) for entry in matching if (value := sort_key(entry)) is not None]
        unknown = [entry for entry in matching if sort_key(entry) is None]
        return [entry for _, entry in sorted(known, key=lambda pair: pair[0], reverse=reverse)] + unknown

    def _has_tag(self, entry: Entry) -> bool:
        return not self.tag or self.tag in entry.identity.tags

    def url(self, **changes: object) -> str:
        """Return the query string with some parameters changed; `after` is reset to 0, the first page, unless it is given."""
        values = vars(replace(self, **{"after": 0} | changes))  # type: ignore[arg-type]  # templates name its own fields
        if values["order"] == DEFAULT_ORDER[values["sort"]]:
            values["order"] = None
        if values["sort"] == "rank" and values["order"] is None:
            values["sort"] = None
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def sort_url(self, column: Column) -> str:
        """Return the query string that sorts by a column, in reverse if the page is sorted by it already."""
        reversed_order: Order = "asc" if self.direction == "desc" else "desc"
        return self.url(sort=column, order=reversed_order if column == self.sort else None)


SORT_KEYS: dict[Column, Callable[[Entry], float | None]] = {
    "cost": lambda entry: entry.seconds,
    "attempts": lambda entry: entry.attempts,
    "date": lambda entry: entry.created_at.timestamp(),
}
"""Sort keys of columns; columns without a key follow the order of the board."""


def _searched_text(entry: Entry) -> str:
    """Return the searchable text of an entry; it contains only fields that visitors may see."""
    known = entry.identity
    return "\n".join((known.method, known.title, known.owner, *known.tags)).casefold()
