"""A server with planted leaks: one decimal too many of numbers from hidden subsets, and the rounded LDS on the reserve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.__main__ import cli
from app.leaderboard import disclosure
from app.leaderboard.schemas import ReserveNumbers
from app.results import submission_views

if TYPE_CHECKING:
    from app.db.models import Benchmark, Measurement

disclosure.DECIMALS += 1


def reserve_numbers(measurement: Measurement | None, _: Benchmark) -> ReserveNumbers | None:
    """Return the LDS on the reserve, although the benchmark is not retired."""
    return None if measurement is None else ReserveNumbers(lds=round(measurement.lds, 4), std_error=0, ci=(0, 0))


vars(submission_views)["reserve_numbers"] = reserve_numbers

if __name__ == "__main__":
    cli()
