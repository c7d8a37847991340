"""Which numbers may leave the server, and how they are rounded where subsets are hidden."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from app.leaderboard.schemas import Numbers, RankingNumbers

if TYPE_CHECKING:
    from app.db.models import Measurement


DECIMALS = 4
DIGITS = 2


class RankingMeasurement(Protocol):
    """The unrounded numbers of a submission on the ranking subsets: a row of the database, or an entry of a board."""

    @property
    def lds(self) -> float:
        """The mean over targets of Spearman's rho."""

    @property
    def std_error(self) -> float:
        """Its standard error over subsets."""

    @property
    def ci_low(self) -> float:
        """The lower end of the 95 % interval."""

    @property
    def ci_high(self) -> float:
        """The upper end."""

    @property
    def z_random(self) -> float:
        """Distance from chance, in standard deviations."""


def published(numbers: dict[str, float], split: str) -> dict[str, float]:
    """Return numbers from the ranking subsets as they may leave the server.

    On an open benchmark nothing is hidden and they stay as they are. On a protected one p and z keep two significant digits,
    and everything else four decimals.
    """
    if split == "open":
        return numbers
    return {
        name: round_significant(value) if name in ("z", "z_random", "p_value", "mean_p") else round(value, DECIMALS)
        for name, value in numbers.items()
    }


def round_significant(value: float) -> float:
    """Round to two significant digits."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value


def public_numbers(measurement: Measurement) -> Numbers:
    """Return the numbers of the public part, whole."""
    return Numbers(
        lds=measurement.lds,
        std_error=measurement.std_error,
        ci=(measurement.ci_low, measurement.ci_high),
        mean_p=measurement.mean_p,
        z_random=measurement.z_random,
    )


def ranking_numbers(
    measurement: RankingMeasurement, manifest: dict[str, Any], rank: tuple[int, int] | None
) -> RankingNumbers:
    """Return the numbers of the ranking part as they may leave the server."""
    names = ("lds", "std_error", "ci_low", "ci_high", "z_random")
    numbers = published({name: getattr(measurement, name) for name in names}, manifest["split"])
    # The share is taken of what is published, so that it tells no further digit.
    ceiling = manifest["ceiling"]
    share = {} if ceiling is None else published({"of_ceiling": numbers["lds"] / ceiling}, manifest["split"])
    return RankingNumbers(
        lds=numbers["lds"],
        std_error=numbers["std_error"],
        ci=(numbers["ci_low"], numbers["ci_high"]),
        rank=rank,
        of_ceiling=share.get("of_ceiling"),
        z_random=numbers["z_random"],
    )
