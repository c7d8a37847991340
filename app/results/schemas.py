"""Response models of a submission, its results and comparisons."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from app.leaderboard.schemas import Interval, Numbers, RankingNumbers
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
    urls: dict[str, str] = Field(description="addresses of the paper and the code, given by the owner")
    pinned: bool = Field(description="whether the owner chose this submission as the entry of its method")
    kind: Literal["ranked", "practice"]
    visibility: Literal["public", "anonymous", "private"]
    created_at: datetime
    attempts: int | None = Field(
        description="attempts of this owner at this version; null if the owner is not visible to the caller"
    )
    queue: Queue | None
    notice: str | None = Field(
        default=None, description="why scoring is delayed at the moment; null if it is not, and in lists of submissions"
    )
    hidden: RankingNumbers | None = Field(
        description="result on the ranking subsets; null before the first result, and for practice"
    )
    public: Numbers | None
    warnings: list[str]
    error: ProblemView | None
    suspension: SuspensionView | None = Field(
        description="why an admin hides the submission from everybody except its owner and the admins; null if no admin hides it"
    )
    cost: dict[str, Any] | None
    provenance: dict[str, Any] | None
    file_sha256: str | None = Field(
        description="SHA-256 of the score file; null if no file is stored, or if the owner is not visible to the caller"
    )
    scorer_version: int | None = Field(
        description="version of the scorer that computed the result; null before the first result"
    )
    links: dict[str, str]


class ComparisonView(BaseModel):
    """The difference in LDS of two submissions a and b, a minus b, on the same subsets."""

    a: str
    b: str
    benchmark: BenchmarkName
    part: Literal["ranking", "public"]
    difference: float
    std_error: float
    z: float | None = Field(description="difference divided by its standard error; null if it is infinite")
    p_value: float


class PairView(ComparisonView):
    """A comparison of two submissions as the pages show it, with an interval and per-target wins."""

    ci: Interval = Field(description="95 % interval of the difference")
    wins: tuple[int, int] = Field(
        description="numbers of targets whose rho on the public subsets is higher for a, and for b"
    )
