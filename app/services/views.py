"""What leaves the server: the shapes of all answers, for the API and the pages alike.

Everything that comes from hidden subsets passes through `published`, and only through it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from app.db.models import Measurement
    from app.services.leaderboard import Entry

Interval = tuple[float, float]
StateName = Literal["uploading", "queued", "scoring", "scored", "rejected", "failed", "expired", "withdrawn"]


class Numbers(BaseModel):
    """The score on the public subsets, whole."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval, for these targets and this recipe")
    mean_p: float = Field(description="mean over targets of the two-sided p-value")
    z_random: float = Field(description="distance from what chance gives, in standard deviations")


class RankingNumbers(BaseModel):
    """The score on the ranking subsets; rounded where these are hidden."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval, for these targets and this recipe")
    rank: tuple[int, int] | None = Field(description="lowest and highest rank it may have; null while not listed")
    of_ceiling: float | None = Field(description="share of the noise ceiling; null where one run tells none")
    z_random: float = Field(description="distance from what chance gives, in standard deviations")


class Queue(BaseModel):
    """The place of a submission that waits."""

    position: int
    seconds: float | None = Field(description="expected wait, if anything was scored before")


class BenchmarkName(BaseModel):
    """Which version of which benchmark."""

    name: str
    version: int


class ProblemView(BaseModel):
    """What is wrong: a problem object (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    expected: str
    got: str
    hint: str


class SubmissionView(BaseModel):
    """A submission: where it is, and its result."""

    id: str
    state: StateName
    benchmark: BenchmarkName
    owner: str
    method: str
    title: str
    description: str
    tags: list[str]
    urls: dict[str, str] = Field(description="paper and code, as its owner gave them")
    pinned: bool = Field(description="whether its owner chose it to be the one listed for its method")
    kind: Literal["ranked", "practice"]
    visibility: Literal["public", "anonymous", "private"]
    created_at: datetime
    attempts: int | None = Field(
        description="ranked submissions that this owner made to this version; null where the owner is not to be known"
    )
    queue: Queue | None
    hidden: RankingNumbers | None = Field(description="on the ranking subsets; null for a practice submission")
    public: Numbers | None
    warnings: list[str]
    error: ProblemView | None
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None
    file_sha256: str | None = Field(description="of the score file; null where it is not kept, or tells who sent it")
    scorer_version: int | None = Field(description="of the scorer that the numbers are from; null before there are any")
    links: dict[str, str]


class PartView(BaseModel):
    """A part of an upload: which bytes of the file it is, and where to send them."""

    number: int
    offset: int
    size: int
    url: str
    received: bool
    sha256: str | None = Field(description="of the bytes that have arrived")


class UploadView(BaseModel):
    """An upload in parts: what was announced, and which parts have arrived."""

    id: str
    state: StateName
    size: int
    sha256: str
    part_bytes: int
    expires_at: datetime = Field(description="when it is given up, and its capability ends")
    parts: list[PartView]
    links: dict[str, str]


class StartedView(UploadView):
    """An upload that was just started."""

    capability: str = Field(description="bearer token for this upload alone, shown only this once")


class DryRunView(BaseModel):
    """A file that would have been accepted; nothing of it was kept."""

    benchmark: BenchmarkName
    method: str
    kind: Literal["ranked", "practice"]
    size: int
    sha256: str


class Best(BaseModel):
    """The first entry of a leaderboard."""

    method: str
    owner: str
    lds: float
    of_ceiling: float | None = Field(description="share of the noise ceiling; null where one run tells none")


class BenchmarkView(BaseModel):
    """A benchmark in its current version."""

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
    ceiling: float | None = Field(description="null where every subset was trained once")
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
    attempts: int | None = Field(description="ranked submissions of this owner; null for an anonymous one")
    possible_gain: float | None = Field(
        description="bound on what earlier answers may have added to the LDS; null for an anonymous one"
    )
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None
    created_at: datetime


class LeaderboardView(BaseModel):
    """The listed entries of one version, best first."""

    benchmark: str
    version: int
    ceiling: float | None
    ceiling_std_error: float | None
    null_band: dict[str, float]
    rows: list[Row]
    next: str | None = Field(description="address of the next page")


class ComparisonView(BaseModel):
    """The paired difference of two submissions, a minus b."""

    a: str
    b: str
    benchmark: BenchmarkName
    part: Literal["ranking", "public"]
    difference: float
    std_error: float
    z: float | None = Field(description="null where the standard error is 0 and the difference is not")
    p_value: float


class PairView(ComparisonView):
    """Two of several submissions beside each other, as the pages show them."""

    ci: Interval
    wins: tuple[int, int] = Field(description="targets on which each has the higher correlation, on the public subsets")


DECIMALS = 4
DIGITS = 2


def published(numbers: dict[str, float], split: str) -> dict[str, float]:
    """Return numbers from the ranking subsets as they may leave the server.

    On an open benchmark nothing is hidden and they stay as they are. On a protected one p and z keep two significant digits,
    and everything else four decimals.
    """
    if split == "open":
        return numbers
    return {
        name: significant(value) if name in ("z", "z_random", "p_value", "mean_p") else round(value, DECIMALS)
        for name, value in numbers.items()
    }


def significant(value: float) -> float:
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
    measurement: Measurement | Entry, manifest: dict[str, Any], rank: tuple[int, int] | None
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
