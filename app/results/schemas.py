"""Response models of a submission, its results and comparisons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, computed_field

from app.leaderboard.schemas import (
    FITTED_MEAN,
    USES_SUBSETS,
    CounterfactualView,
    Interval,
    Numbers,
    RankingNumbers,
    ReserveNumbers,
)
from app.submissions.schemas import BenchmarkName, StateName
from ldsboard.problems import PROBLEMS, Problem


class Queue(BaseModel):
    """The queue position of a queued submission, and the expected wait."""

    position: int
    seconds: float | None = Field(description="expected wait in seconds; null before the server's first evaluation")


class ProblemView(BaseModel):
    """An error as a problem object (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    expected: str | None = Field(
        default=None, description="what the server expected; absent or null if the error compares no values"
    )
    got: str | None = Field(
        default=None, description="what the server got instead; absent or null if the error compares no values"
    )

    @classmethod
    def of(cls, problem: Problem, status: int | None = None) -> Self:
        """Return the response model of a problem. If `status` is None, the HTTP status is the status of the problem's code."""
        status = PROBLEMS[problem.code].status if status is None else status
        return cls(type=f"urn:ldsboard:problem:{problem.code}", status=status, **problem.as_dict())


class SuspensionView(BaseModel):
    """Why an admin hides a submission from everybody except its owner and the admins."""

    reason: str
    contact: str = Field(description="to whom the owner can write to answer")
    at: datetime


class ReplicatesView(BaseModel):
    """A submission and its replicates together: submissions of one method that differ by the seed."""

    ids: list[str] = Field(description="ids of all replicates, with the submission itself")
    part: Literal["ranking", "public"] = Field(description="the subsets that the numbers belong to")
    lds: float = Field(description="mean LDS over the replicates")
    std_error: float = Field(description="standard error of the mean LDS over subsets, for these replicates")
    spread: float = Field(description="standard deviation of the LDS over the replicates (ddof 1)")
    fitted: bool = Field(description=FITTED_MEAN)


class SubmissionView(BaseModel):
    """A submission with its state and result."""

    id: str
    state: StateName
    benchmark: BenchmarkName
    owner: str
    method: str
    title: str
    description: str
    tags: list[str]
    urls: dict[str, str] = Field(description="the fields paper and code, without those that are null")
    pinned: bool = Field(description="whether the owner chose this submission as the entry of its method")
    kind: Literal["ranked", "practice"]
    visibility: Literal["public", "anonymous", "private"]
    uses_subsets: bool = Field(description=USES_SUBSETS)
    created_at: datetime
    attempts: int | None = Field(
        description="attempts of this owner at this version; null if the owner is not visible to the caller"
    )
    queue: Queue | None
    progress: float | None = Field(
        description="fraction of the targets that are scored, in steps of 0.01; null in the first second of scoring, and in "
        "every state other than scoring"
    )
    notice: str | None = Field(
        default=None, description="why scoring is delayed at the moment; null if it is not, and in lists of submissions"
    )
    hidden: RankingNumbers | None = Field(
        description="result on the ranking subsets; null before the first result, and for practice"
    )
    public: Numbers | None
    replicate_of: str | None = Field(
        description="id of the submission that the owner states this submission to be a replicate of; null for other viewers"
    )
    replicates: ReplicatesView | None = Field(
        default=None, description="the replicates; null without other replicates, and in lists of submissions"
    )
    reserve: ReserveNumbers | None = Field(
        description="result on the reserve; null until the benchmark is retired, and if there is no reserve"
    )
    counterfactual: CounterfactualView | None = Field(
        default=None,
        description="the counterfactual evaluation; null until it begins, where models cannot be retrained, and in lists of "
        "submissions. Only submissions that a leaderboard lists are evaluated",
    )
    warnings: list[str]
    error: ProblemView | None
    suspension: SuspensionView | None = Field(
        description="why an admin hides the submission from everybody except its owner and the admins; null if no admin hides it"
    )
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None = Field(
        description="newest provenance of the file; verified is true if the server took it from the identity of a CI run"
    )
    file_sha256: str | None = Field(
        description="SHA-256 of the score file; null if no file is stored, or if the owner is not visible to the caller"
    )
    scorer_version: int | None = Field(
        description="version of the scorer that computed the result; null before the first result"
    )
    links: dict[str, str]

    @computed_field(description="address of the paper, given by the owner")  # type: ignore[prop-decorator]
    @property
    def paper(self) -> str | None:
        """Address of the paper, given by the owner."""
        return self.urls.get("paper")

    @computed_field(description="address of the code, given by the owner")  # type: ignore[prop-decorator]
    @property
    def code(self) -> str | None:
        """Address of the code, given by the owner."""
        return self.urls.get("code")


class ComparisonView(BaseModel):
    """The difference in LDS of two submissions a and b, a minus b, on the same subsets."""

    a: str
    b: str
    benchmark: BenchmarkName
    part: Literal["ranking", "public"]
    lds: tuple[float, float] = Field(
        description="LDS of a and of b on these subsets: of a submission with replicates, the mean LDS that is compared"
    )
    difference: float
    std_error: float
    z: float | None = Field(description="difference divided by its standard error; null if it is infinite")
    p_value: float
    ci: Interval = Field(description="95 % interval of the difference")
    replicates: tuple[int, int] = Field(
        description="numbers of replicates of a and of b whose mean LDS is compared; 1 for a single file"
    )
    spread: float | None = Field(
        description="standard deviation of the LDS over replicates, which the standard error accounts for; pooled, for display, "
        "if both sides have at least 3 replicates; null if neither side has"
    )
    note: str | None = Field(description="what the comparison does not account for; null if it accounts for reruns")
    uses_subsets: tuple[bool, bool] = Field(
        description="whether a and b are declared as fitted to the ranking subsets; the difference between a fitted file and "
        "another says nothing about how well a method attributes"
    )


class PairView(ComparisonView):
    """A comparison of two submissions as the pages show it, with per-target wins."""

    wins: tuple[int, int] = Field(
        description="numbers of targets whose rho on the public subsets is higher for a, and for b"
    )


class DifferenceView(BaseModel):
    """The LDS of a row of a history minus the LDS of the baseline, by the paired test on the same subsets."""

    difference: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the difference")
    p_value: float
    note: str | None = Field(description="what the comparison does not account for")


class HistoryRow(BaseModel):
    """A row of a history: a commit that sent a file, and the LDS of the file. Several commits can send the same file."""

    id: str = Field(description="id of the submission")
    title: str
    kind: Literal["ranked", "practice"]
    visibility: Literal["public", "anonymous", "private"]
    created_at: datetime = Field(
        description="when this commit sent the file; without provenance, when the file was sent first"
    )
    uses_subsets: bool = Field(description=USES_SUBSETS)
    provenance: dict[str, Any] | None
    lds: float
    std_error: float
    ci: Interval = Field(description="95 % interval of the LDS")
    difference: DifferenceView | None = Field(
        description="difference from the baseline; null without a baseline, for the baseline itself, and between a file that is"
        " declared as fitted to the ranking subsets (uses_subsets) and one that is not"
    )
    marked: bool = Field(description="whether p < 0.001, and the difference is larger than 0.005 in either direction")


class HistoryView(BaseModel):
    """The LDS of a method of one owner over commits, newest first."""

    benchmark: str
    version: int
    owner: str
    method: str
    part: Literal["public", "ranking"] = Field(description="the subsets that all numbers belong to")
    baseline: str | None = Field(
        description="id of the listed entry of the method; without a listed entry, id of the oldest row with this kind and"
        " branch. Rows with uses_subsets true are used only if the history has no other rows"
    )
    baseline_lds: float | None = Field(description="LDS of the baseline on the same subsets")
    baseline_listed: bool = Field(description="whether the baseline is the listed entry of the method")
    rows: list[HistoryRow]
    next: str | None = Field(description="value of before for the next page; null on the last page")
