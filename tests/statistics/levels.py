"""The table of levels: one row for each displayed statistic and setting, one column for each number of subsets.

To add a row, write a test with the parameter M in SIZES that calls `report_level` for each M, with the figure or with the rule by
which the product withholds the statistic.
"""

from __future__ import annotations

from typing import NamedTuple

SIZES = [8, 20, 64, 100, 800]
"""Numbers of ranking subsets M."""

WITHHELD = "withheld"


class Level(NamedTuple):
    """A figure with its Monte Carlo error, or `WITHHELD`, of one statistic in one setting with M subsets; and its limit."""

    statistic: str
    setting: str
    M: int
    figure: str
    bar: str


def level_table(levels: list[Level]) -> list[str]:
    """Return the lines of the table, in the order in which rows were first reported."""
    rows: dict[tuple[str, str], dict[int, Level]] = {}
    for level in levels:
        rows.setdefault((level.statistic, level.setting), {})[level.M] = level
    header = ["displayed statistic", "setting", *(f"M {M}" for M in SIZES), "limit"]
    lines = [header, ["---"] * len(header)]
    for (statistic, setting), cells in rows.items():
        figures = [cells[M].figure if M in cells else "" for M in SIZES]
        bar = next((level.bar for level in cells.values() if level.bar), "")
        lines.append([statistic, setting, *figures, bar])
    return ["| " + " | ".join(line) + " |" for line in lines]
