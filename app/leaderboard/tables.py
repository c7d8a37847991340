"""Leaderboards as CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.leaderboard.schemas import LeaderboardView

FALL_COLUMNS = [
    "fall",
    "fall_std_error",
    "fall_ci_low",
    "fall_ci_high",
    "fall_rank_low",
    "fall_rank_high",
    "fall_removed",
    "fall_flipped",
    "fall_others",
    "fall_control",
    "fall_above_control",
    "fall_p_value",
]
"""Columns of the fall, empty for an entry without a counterfactual evaluation."""

COLUMNS = [
    "rank_low",
    "rank_high",
    "method",
    "title",
    "owner",
    "lds",
    "std_error",
    "ci_low",
    "ci_high",
    "replicates",
    "spread",
    "of_ceiling",
    "z_random",
    "p_random",
    "in_family",
    "separable_from_first",
    "attempts",
    "possible_gain",
    "fitted",
    "uses_subsets",
    *FALL_COLUMNS,
    "created_at",
    "id",
    "benchmark",
    "version",
]


def csv_table(view: LeaderboardView) -> str:
    """Return all rows of `view` as CSV; the first line holds the names in `COLUMNS`.

    Texts that a spreadsheet could run as a formula begin with an added apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for row in view.rows:
        cells = row.model_dump(mode="json") | {"benchmark": view.benchmark, "version": view.version}
        cells["rank_low"], cells["rank_high"] = row.rank or ("", "")
        cells["ci_low"], cells["ci_high"] = row.ci
        cells["fall"] = None
        if row.fall is not None:
            cells |= {f"fall_{name}": value for name, value in row.fall.model_dump(mode="json").items()}
            cells["fall"] = row.fall.fall
            cells["fall_ci_low"], cells["fall_ci_high"] = row.fall.ci
            cells["fall_rank_low"], cells["fall_rank_high"] = row.fall.rank or ("", "")
        writer.writerow({name: _escape_formula(value) for name, value in cells.items()})
    return buffer.getvalue()


FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""Pattern of the first characters of a text that a spreadsheet may run as a formula (OWASP, CSV injection).

Full-width signs match too, and so do leading spaces, which some spreadsheets ignore."""


def _escape_formula(value: object) -> object:
    """Prefix a text with an apostrophe if a spreadsheet could run it as a formula."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
