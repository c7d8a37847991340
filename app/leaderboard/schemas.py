"""Response models of benchmarks and leaderboards."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

Interval = tuple[float, float]


class Numbers(BaseModel):
    """The result on the public subsets, at full precision."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS, for these targets and this recipe")
    mean_p: float = Field(description="mean of the targets' two-sided p-values")
    z_random: float = Field(description="distance of the LDS from the LDS of random scores, in standard deviations")


class RankingNumbers(BaseModel):
    """The result on the ranking subsets, rounded if the ranking subsets are hidden."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS, for these targets and this recipe")
    rank: tuple[int, int] | None = Field(
        description="rank interval: lowest and highest rank; null while the submission is not listed"
    )
    of_ceiling: float | None = Field(description="LDS divided by the noise ceiling; null if the ceiling is unknown")
    z_random: float = Field(description="distance of the LDS from the LDS of random scores, in standard deviations")


class Best(BaseModel):
    """The best entry of a leaderboard."""

    method: str
    owner: str
    lds: float
    of_ceiling: float | None = Field(description="LDS divided by the noise ceiling; null if the ceiling is unknown")


class BenchmarkView(BaseModel):
    """A version of a benchmark, with the number of entries and the best entry of the leaderboard."""

    name: str
    version: int
    title: str
    description: str
    licence: str
    n_train: int
    n_targets: int
    subsets: dict[str, int]
    runs: int
    split: Literal["protected", "open"]
    output_function: str
    ceiling: float | None = Field(
        description="noise ceiling; null if every subset was trained only once, or with fewer than 64 ranking subsets"
    )
    ceiling_std_error: float | None
    null_band: dict[str, float]
    dataset: dict[str, Any]
    recipe: dict[str, Any]
    versions: list[int]
    entries: int
    best: Best | None


class Row(BaseModel):
    """One entry of a leaderboard."""

    id: str
    owner: str
    method: str
    title: str
    tags: list[str]
    urls: dict[str, str]
    lds: float
    std_error: float
    ci: Interval
    rank: tuple[int, int]
    of_ceiling: float | None
    z_random: float
    attempts: int | None = Field(description="attempts of this owner; null for an anonymous entry")
    possible_gain: float | None = Field(
        description="upper bound on the average gain in LDS from using the results of attempts; null for an anonymous entry"
    )
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None
    created_at: datetime


class LeaderboardView(BaseModel):
    """One page of the leaderboard of a version: entries, best first, with the noise ceiling and the null band of the version."""

    benchmark: str
    version: int
    ceiling: float | None
    ceiling_std_error: float | None
    null_band: dict[str, float]
    rows: list[Row]
    next: str | None = Field(description="address of the next page; null on the last page")
