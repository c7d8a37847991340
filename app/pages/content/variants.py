"""The variants of a method: entries with one tag, with the Pareto fronts of LDS against their reported costs.

`app/pages/static/charts/pareto.js` draws the same fronts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.leaderboard.schemas import Row


class Variant(NamedTuple):
    """An entry that reports its number of models, its seconds or both; the missing number is None.

    ``leads_models`` and ``leads_seconds`` tell whether the entry is on the Pareto front of this cost.
    """

    row: Row
    models: float | None
    seconds: float | None
    leads_models: bool
    leads_seconds: bool


def variants(rows: Sequence[Row]) -> list[Variant]:
    """Return the entries that report a cost, by number of models, then by seconds; an unknown number comes last.

    Entries that are declared as fitted to the ranking subsets are left out: they would lead the fronts.
    """
    rows = [row for row in rows if not row.uses_subsets]
    models = {row.id: (row.cost or {}).get("models") for row in rows}
    seconds = {row.id: (row.cost or {}).get("seconds") for row in rows}
    by_models, by_seconds = _front(rows, models), _front(rows, seconds)
    found = [
        Variant(row, models[row.id], seconds[row.id], row.id in by_models, row.id in by_seconds)
        for row in rows
        if models[row.id] is not None or seconds[row.id] is not None
    ]
    return sorted(found, key=lambda variant: [_unknown_last(cost) for cost in (variant.models, variant.seconds)])


def _unknown_last(cost: float | None) -> tuple[bool, float]:
    return cost is None, cost or 0.0


def _front(rows: Sequence[Row], costs: Mapping[str, float | None]) -> set[str]:
    """Return the ids of the entries that have a higher LDS than every entry with the same or a lower cost.

    An entry with an unknown cost is not on the front. Of entries with equal cost and equal LDS, the first is on the front.
    """
    known = [(cost, -row.lds, place, row) for place, row in enumerate(rows) if (cost := costs[row.id]) is not None]
    front, highest = set(), float("-inf")
    for _, _, _, row in sorted(known, key=lambda entry: entry[:3]):
        if row.lds > highest:
            front.add(row.id)
            highest = row.lds
    return front
