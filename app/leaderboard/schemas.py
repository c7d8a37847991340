"""Response models of benchmarks and leaderboards."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from ldsboard.counterfactual.removals import PROPONENTS

Interval = tuple[float, float]

P_RANDOM = "two-sided p-value of the LDS for random scores; scores with a p-value above .0027 may be random"

USES_SUBSETS = (
    "whether the owner declares that the method was fitted to the ranking subsets or to their margins; such an entry of a "
    "practice board stands below all other entries, without rank"
)

FITTED = (
    "whether the LDS is more than 3 standard errors above the noise ceiling of a practice board, as of scores that were fitted "
    "to the ranking subsets"
)

FITTED_MEAN = f"{FITTED}; with replicates, whether their mean LDS or the LDS of one of them is"

IN_FAMILY = (
    "whether the ranks of other entries count this entry: of each owner only the five newest, public and anonymous entries "
    "apart; null without a rank"
)

SEPARABLE = (
    "whether the entry is significantly worse than the first entry, with limits that allow for the choice of the first entry by "
    "its result; null for the first entry, without a rank, and until a changed board is ranked"
)

RANKED = "whether entries have ranks: not with fewer than 20 ranking subsets, nor if all subsets are ranking subsets"

OF_CEILING = (
    "LDS divided by the noise ceiling; null if the ceiling is unknown, or its standard error is above a tenth of it"
)

SPREAD = "standard deviation of the LDS over replicates (ddof 1); null for a single file"

NEW_TARGETS = (
    "standard error of the LDS for a new draw of subsets and targets; null for one target or fewer than 4 subsets"
)


class TargetNumbers(BaseModel):
    """How Spearman's rho varies over targets, on the public subsets."""

    count: int = Field(description="number of targets")
    median: float = Field(description="median of rho over targets")
    low: float = Field(description="5 % quantile of rho over targets")
    high: float = Field(description="95 % quantile of rho over targets")
    share_p05: float = Field(description="share of the targets whose two-sided p-value is below 0.05")


class Numbers(BaseModel):
    """The result on the public subsets, at full precision."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS, for these targets and this recipe")
    mean_p: float = Field(description="mean of the targets' two-sided p-values")
    z_random: float = Field(description="distance of the LDS from the LDS of random scores, in standard deviations")
    p_random: float = Field(description=P_RANDOM)
    std_error_new_targets: float | None = Field(description=NEW_TARGETS)
    targets: TargetNumbers | None = Field(
        default=None, description="how rho varies over targets; null in lists of submissions"
    )


class RankingNumbers(BaseModel):
    """The result on the ranking subsets, rounded if the ranking subsets are hidden."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS, for these targets and this recipe")
    listed: bool = Field(description="whether the leaderboard lists the submission")
    rank: tuple[int, int] | None = Field(
        description="rank interval: lowest and highest rank; null if the submission is not listed, the board has no ranks, or "
        "the entry is declared as fitted to the ranking subsets"
    )
    in_family: bool | None = Field(description=IN_FAMILY)
    separable_from_first: bool | None = Field(description=SEPARABLE)
    fitted: bool = Field(description=FITTED)
    of_ceiling: float | None = Field(description=OF_CEILING)
    z_random: float = Field(description="distance of the LDS from the LDS of random scores, in standard deviations")
    p_random: float = Field(description=P_RANDOM)
    std_error_new_targets: float | None = Field(description=NEW_TARGETS)


class ReserveNumbers(BaseModel):
    """The result on the reserve, the hidden subsets that no result revealed before the benchmark was retired; rounded."""

    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS, for these targets and this recipe")


class Best(BaseModel):
    """The best entry of a leaderboard."""

    method: str
    owner: str
    lds: float
    of_ceiling: float | None = Field(description=OF_CEILING)


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
    subset_count: int = Field(description="number of subsets, public and ranking subsets together")
    reserve_subsets: int = Field(
        description="number of further hidden subsets, whose results are shown only when the benchmark is retired"
    )
    retired_at: datetime | None = Field(
        description="since when the benchmark takes no more submissions; null if it does"
    )
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
    ranked: bool = Field(description=RANKED)
    all_subsets_rank: bool = Field(description="whether all subsets are both public and ranking subsets")
    best: Best | None = Field(
        description="the first ranked entry that is not marked as fitted; null if there is none, and on practice boards whose "
        "noise ceiling is unknown, because nothing tells which entries were fitted there"
    )


class FallNumbers(BaseModel):
    """How far the margins of targets fall after retraining without the examples with the highest or the lowest scores.

    All means are over targets and runs. Negative falls are rises.
    """

    direction: Literal["proponents", "opponents"] = Field(
        description="proponents: the examples with the highest scores were removed; opponents: those with the lowest"
    )
    removed: int = Field(description="number of removed examples")
    fall: float = Field(description="mean fall of the margin")
    std_error: float | None = Field(description="standard error of the mean fall over targets; null for one target")
    ci: tuple[float | None, float | None] = Field(description="95 % interval of the mean fall over targets")
    std_error_runs: float | None = Field(
        description="standard error of the mean fall over runs, most of which is common to all files; null for one run"
    )
    loss: float = Field(description="mean rise of the loss (cross-entropy)")
    flipped: float = Field(description="share of all predictions that became wrong, minus the share that became right")
    others: float | None = Field(
        description="mean fall of the margin of the other targets of the same class; null if there are none"
    )
    control: float = Field(description="mean fall of the margin without as many random examples")
    above_control: float | None = Field(
        description="distance of the fall from that of the random control, in standard errors; null for one target, and if the "
        "standard error is 0"
    )
    p_value: float | None = Field(description="two-sided p-value of this distance; null for one target")
    ties: int = Field(description="number of targets for which removed and kept examples have equal scores")
    wrong_sign: int = Field(
        description="number of targets for which a removed proponent has no positive, or a removed opponent no negative score"
    )
    whole_class: int = Field(description="number of targets for which all training examples of a class were removed")


class HeadlineFall(FallNumbers):
    """The fall of the leaderboard: without 1 % of the examples, those with the highest scores."""

    rank: tuple[int, int] | None = Field(
        description="rank interval among the entries with a fall; 1 is the largest fall. Null for an entry that is declared as "
        "fitted to the ranking subsets, and with a single target"
    )
    target_count: int = Field(description="number of targets")
    runs: int = Field(description="number of retrained models for each target")


class CounterfactualView(BaseModel):
    """The counterfactual evaluation of a submission: models retrained without the examples that its scores name."""

    state: Literal["interrupted", "running", "done", "impossible"] = Field(
        description="interrupted: it was stopped or failed, and goes on later"
    )
    percent: int | None = Field(description="how many percent of the models are trained, while they are")
    reason: str | None = Field(description="why the evaluation is impossible")
    targets: list[int] = Field(default=[], description="indices of the targets; the same for all submissions")
    runs: int | None = Field(default=None, description="number of retrained models for each target and size")
    headline: int | None = Field(default=None, description="number of removed examples of the fall on the leaderboard")
    before: float | None = Field(
        default=None, description="mean margin of the targets by models trained on all examples"
    )
    seconds: float | None = Field(default=None, description="processor time of the retrained models, in seconds")
    rows: list[FallNumbers] = Field(default=[], description="one for each direction and number of removed examples")

    @property
    def shown(self) -> FallNumbers:
        """The row that the leaderboard shows; the evaluation must have ended."""
        return next(row for row in self.rows if (row.direction, row.removed) == (PROPONENTS, self.headline))


class Row(BaseModel):
    """One entry of a leaderboard."""

    id: str
    owner: str
    method: str
    title: str
    tags: list[str]
    urls: dict[str, str]
    lds: float = Field(description="LDS; the mean over replicates if the entry has replicates")
    std_error: float
    ci: Interval
    replicates: int = Field(description="number of replicates that the entry is the mean of; 1 for a single file")
    spread: float | None = Field(description=SPREAD)
    rank: tuple[int, int] | None = Field(
        description="rank interval: lowest and highest rank; null if the board has no ranks, or the entry is declared as "
        "fitted to the ranking subsets"
    )
    in_family: bool | None = Field(description=IN_FAMILY)
    separable_from_first: bool | None = Field(description=SEPARABLE)
    of_ceiling: float | None
    z_random: float
    p_random: float = Field(description=P_RANDOM)
    attempts: int | None = Field(
        description="attempts of this owner; null for an anonymous entry, and if all subsets are public and ranking subsets"
    )
    possible_gain: float | None = Field(
        description="upper bound on the average gain in LDS from using the results of the owner's attempts, and of the attempts "
        "of all users without a verified identity; null if attempts is null, and on practice boards, where nothing is hidden"
    )
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None
    fitted: bool = Field(description=FITTED_MEAN)
    uses_subsets: bool = Field(description=USES_SUBSETS)
    fall: HeadlineFall | None = Field(
        description="fall of the margin after retraining without the examples that the file of this submission names; null until "
        "it is evaluated, and where models cannot be retrained"
    )
    created_at: datetime


class SnapshotFile(BaseModel):
    """A file of a snapshot."""

    name: str
    size: int = Field(description="bytes")
    sha256: str
    url: str = Field(description="path of the download on this server")


class SnapshotView(BaseModel):
    """A dated copy of the leaderboard of a version, whose files never change."""

    benchmark: str
    version: int
    date: str = Field(description="day of the snapshot in UTC, YYYY-MM-DD")
    title: str = Field(description="title of the benchmark")
    address: str = Field(description="permanent address of the snapshot's page, to be cited")
    entries: int
    scorer_version: int = Field(description="version of the scorer of all results")
    page: str = Field(description="path of the snapshot's page on this server")
    files: list[SnapshotFile]


class SnapshotLink(BaseModel):
    """A snapshot in a list."""

    date: str = Field(description="day of the snapshot in UTC, YYYY-MM-DD")
    page: str = Field(description="path of the snapshot's page; after /api/v1, the path of the API call")


class AllUsers(BaseModel):
    """How many attempts all users have made together, and how much one person could have gained from all their results."""

    attempts: int = Field(description="attempts at this and at earlier compatible versions")
    possible_gain: float = Field(description="upper bound on the average gain of the best entry from using all results")


class LeaderboardView(BaseModel):
    """One page of the leaderboard of a version, with the noise ceiling and the null band of the version.

    Entries are listed best first, and those that are declared as fitted to the ranking subsets after all others.
    """

    benchmark: str
    version: int
    ranked: bool = Field(description=RANKED)
    ceiling: float | None
    ceiling_std_error: float | None
    null_band: dict[str, float]
    all_users: AllUsers | None = Field(description="null if no entry has a rank, and on practice boards")
    rows: list[Row]
    next: str | None = Field(description="address of the next page; null on the last page")
