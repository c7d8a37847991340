"""How a visitor wants to see a leaderboard: which entries, in which order, from where on; all of it stands in the address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.leaderboard.entries import Entry

Column = Literal["rank", "lds", "ceiling", "cost", "attempts", "date"]
Order = Literal["asc", "desc"]

FIRST_ORDER: dict[Column, Order] = {
    "rank": "asc",
    "lds": "desc",
    "ceiling": "desc",
    "cost": "asc",
    "attempts": "asc",
    "date": "desc",
}
"""How a column is sorted when it is chosen; chosen again, the other way round."""


@dataclass(frozen=True)
class Arrangement:
    """What the address of a leaderboard says; `version` is none where it does not say."""

    sort: Column = "rank"
    order: Order | None = None
    q: str = ""
    tag: str = ""
    version: int | None = None
    after: int = 0

    @property
    def direction(self) -> Order:
        """The order, which by default is that in which one looks at a column first."""
        return self.order or FIRST_ORDER[self.sort]

    @property
    def is_filtered(self) -> bool:
        """Whether entries may be left out."""
        return bool(self.q.strip() or self.tag)

    @property
    def is_ranking(self) -> bool:
        """Whether neighbours are neighbours by rank, best first."""
        return self.sort in ("rank", "lds", "ceiling") and self.direction == FIRST_ORDER[self.sort]

    def of(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that are asked for, of those of a whole board, best first, in the order that is asked for."""
        words = self.q.casefold().split()
        found = [entry for entry in entries if self._has_tag(entry) and all(word in _text(entry) for word in words)]
        backwards = self.direction == "desc"
        if (value := VALUES.get(self.sort)) is None:  # the board's own order: what is published of equal scores decides
            return found if self.is_ranking else found[::-1]
        known = [(number, entry) for entry in found if (number := value(entry)) is not None]
        unknown = [entry for entry in found if value(entry) is None]
        return [entry for _, entry in sorted(known, key=lambda pair: pair[0], reverse=backwards)] + unknown

    def _has_tag(self, entry: Entry) -> bool:
        return not self.tag or self.tag in entry.known.tags

    def address(self, **changes: object) -> str:
        """Return the query of the address with some parts changed; any change but of `after` begins at the first page again."""
        values = vars(replace(self, **{"after": 0} | changes))  # type: ignore[arg-type]  # templates name its own fields
        if values["order"] == FIRST_ORDER[values["sort"]]:
            values["order"] = None
        if values["sort"] == "rank" and values["order"] is None:
            values["sort"] = None
        return "?" + urlencode({name: value for name, value in values.items() if value})

    def sorting(self, column: Column) -> str:
        """Return the query that sorts by a column: the other way round, if that is how it is sorted."""
        turned: Order = "asc" if self.direction == "desc" else "desc"
        return self.address(sort=column, order=turned if column == self.sort else None)


VALUES: dict[Column, Callable[[Entry], float | None]] = {
    "cost": lambda entry: entry.seconds,
    "attempts": lambda entry: entry.attempts,
    "date": lambda entry: entry.created_at.timestamp(),
}
"""What is sorted by; the other columns follow the order of the board."""


def _text(entry: Entry) -> str:
    """Return what of an entry is searched, as visitors know it."""
    known = entry.known
    return "\n".join((known.method, known.title, known.owner, *known.tags)).casefold()
