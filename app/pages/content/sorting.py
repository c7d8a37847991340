"""Filtering, sorting and paging of a leaderboard, as given in the query string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from app.leaderboard.entries import Entry, comparable
from app.web.dependencies import VersionNumber

Column = Literal["rank", "lds", "ceiling", "fall", "cost", "attempts", "date"]
Order = Literal["asc", "desc"]

DEFAULT_ORDER: dict[Column, Order] = {
    "rank": "asc",
    "lds": "desc",
    "ceiling": "desc",
    "fall": "desc",
    "cost": "asc",
    "attempts": "asc",
    "date": "desc",
}
"""Order in which each column is sorted when it is selected; selecting the column again reverses the order."""


class LeaderboardQuery(BaseModel, frozen=True):
    """The query parameters of a leaderboard page; `version` is None if the query string names no version."""

    sort: Column = "rank"
    order: Order | None = None
    q: Annotated[str, Field(max_length=100)] = ""
    tag: Annotated[str, Field(max_length=100)] = ""
    version: VersionNumber = None
    after: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def direction(self) -> Order:
        """The requested order. If the query names no order, this is the order of the sorted column in `DEFAULT_ORDER`."""
        return self.order or DEFAULT_ORDER[self.sort]

    @property
    def is_filtered(self) -> bool:
        """Whether the query has a search or a tag, which can exclude entries."""
        return bool(self.q.strip() or self.tag)

    @property
    def is_ranking(self) -> bool:
        """Whether entries are sorted by rank, best first."""
        return self.sort in ("rank", "lds", "ceiling") and self.direction == DEFAULT_ORDER[self.sort]

    def select(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the matching entries in the requested order.

        In every order, entries that are declared as fitted to the ranking subsets follow all other entries.

        Parameters
        ----------
        entries
            All entries of the board, best first.
        """
        matching = self._matching(entries)
        fitted = [entry for entry in matching if entry.uses_subsets]
        return self._sort(comparable(matching)) + self._sort(fitted)

    def _sort(self, matching: list[Entry]) -> list[Entry]:
        """Return entries in the requested order; entries without a value in the sorted column come last.

        `matching` is in the order of the board.
        """
        # Without a sort key, keep the order of the board, which also decides between equal LDS.
        if (sort_key := SORT_KEYS.get(self.sort)) is None:
            return matching if self.is_ranking else matching[::-1]
        known = [(value, entry) for entry in matching if (value := sort_key(entry)) is not None]
        unknown = [entry for entry in matching if sort_key(entry) is None]
        known.sort(key=lambda pair: pair[0], reverse=self.direction == "desc")
        return [entry for _, entry in known] + unknown

    def _matching(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries with the tag and all words of the search, in fields that visitors can see."""
        if not self.is_filtered:
            return list(entries)
        words = self.q.casefold().split()

        def matches(entry: Entry) -> bool:
            shown = entry.identity
            text = "\n".join((shown.method, shown.title, shown.owner, *shown.tags)).casefold()
            return (not self.tag or self.tag in shown.tags) and all(word in text for word in words)

        return [entry for entry in entries if matches(entry)]

    def url(self, **changes: object) -> str:
        """Return the query string of this query with changed parameters; `after` is 0, the first page, unless it is given."""
        values = self.model_dump() | {"after": 0} | changes
        if values["order"] == DEFAULT_ORDER[values["sort"]]:
            values["order"] = None
        if values["sort"] == "rank" and values["order"] is None:
            values["sort"] = None
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def sort_url(self, column: Column) -> str:
        """Return the query string that sorts by a column; in reverse order if this query already sorts by that column."""
        reversed_order: Order = "asc" if self.direction == "desc" else "desc"
        return self.url(sort=column, order=reversed_order if column == self.sort else None)


SORT_KEYS: dict[Column, Callable[[Entry], float | None]] = {
    "fall": lambda entry: entry.fall and entry.fall.mean,
    "cost": lambda entry: entry.seconds,
    "attempts": lambda entry: entry.attempts,
    "date": lambda entry: entry.created_at.timestamp(),
}
"""Sort keys of columns. Sorting by a column without a key keeps the order of the board."""
