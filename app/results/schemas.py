"""Response models of a submission, its results and comparisons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from app.leaderboard.schemas import Interval, Numbers, RankingNumbers
from app.submissions.schemas import BenchmarkName, StateName
from ldsboard.problems import PROBLEMS, Problem


class Queue(BaseModel):
    """The place of a submission that waits."""

    position: int
    seconds: float | None = Field(description="expected wait, if anything was scored before")


class ProblemView(BaseModel):
    """What is wrong: a problem object (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    expected: str | None = Field(default=None, description="what was required; absent where there is no such pair")
    got: str | None = Field(default=None, description="what was found instead")

    @classmethod
    def of(cls, problem: Problem, status: int | None = None) -> Self:
        """Return the problem object of a problem; by default with the HTTP status of its code."""
        status = PROBLEMS[problem.code].status if status is None else status
        return cls(type=f"urn:ldsboard:problem:{problem.code}", status=status, **problem.as_dict())


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
