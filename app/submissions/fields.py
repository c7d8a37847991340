"""The metadata of a submission: the fields that query parameters, JSON bodies and the service share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from app.db.models import Kind, Visibility
from app.db.uploads import Provider
from app.submissions.field_types import (
    Branch,
    Commit,
    Description,
    Device,
    Link,
    Method,
    Repository,
    RequestNumber,
    Sha256,
    SubmissionId,
    Tags,
    Title,
)


class ReportedCost(BaseModel, extra="forbid"):
    """The cost of computing the scores, as the owner reports it."""

    seconds: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="reported cost: computing time in seconds"
    )
    device: Device | None = Field(default=None, description="reported cost: name of the device")
    models: int | None = Field(default=None, ge=0, lt=2**31, description="reported cost: number of trained models")


class ReportedProvenance(BaseModel, extra="forbid"):
    """The provenance of the file, as the owner reports it."""

    repository: Repository | None = Field(default=None, description="repository that the file comes from")
    commit: Commit | None = Field(default=None, description="commit that the file comes from")
    branch: Branch | None = Field(default=None, description="branch of the commit")
    number: RequestNumber | None = Field(
        default=None, description="number of the pull request or merge request that the commit belongs to"
    )
    provider: Provider | None = Field(default=None, description="software that hosts the repository")
    url: Link | None = Field(default=None, description="page of the run that made the file")


class CommonFields(BaseModel, extra="forbid"):
    """The fields that have the same form in query parameters and in a JSON body."""

    method: Method = Field(description="name of the attribution method")
    kind: Kind = Field(
        default=Kind.RANKED, description="ranked: listed, counted in the quota; practice: public subsets only"
    )
    visibility: Visibility = Field(
        default=Visibility.PUBLIC, description="who may see the submission, from its creation on"
    )
    uses_subsets: bool = Field(
        default=False,
        description="whether the method was fitted to the ranking subsets or to their margins, which is possible on practice "
        "boards only; the entry then has no rank",
    )
    title: Title = Field(default="", description="free text; by default the name of the method")
    description: Description = Field(default="", description="free text of several lines")
    tags: Tags = Field(default=[], description="at most 8 tags")
    paper: Link | None = Field(default=None, description="address of the paper about the method")
    code: Link | None = Field(default=None, description="address of the code of the method")
    replicate_of: SubmissionId | None = Field(
        default=None,
        description="id of an own submission of the same method to the same version that differs only by the seed; the "
        "leaderboard then lists the mean LDS",
    )


class SubmissionFields(CommonFields):
    """The metadata of a submission in a JSON body, with cost and provenance as nested objects."""

    cost: ReportedCost | None = None
    provenance: ReportedProvenance | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values to store in the table of submissions, by name of the column.

        Visibility and provenance are left out, because they are stored separately. ``replicate_of`` is left out too: the id that
        `app.submissions.replicates.find_root` returns is stored instead.
        """
        values = self.model_dump(include={"method", "kind", "uses_subsets", "title", "description", "tags"})
        urls = self.model_dump(include={"paper", "code"}, exclude_none=True)
        return values | {"title": self.title or self.method, "urls": urls, "cost": stated(self.cost)}


class SubmissionQuery(CommonFields, ReportedCost, ReportedProvenance):
    """The metadata of a submission as query parameters; the fields of cost and provenance are not nested."""

    sha256: Sha256 | None = Field(
        default=None, description="SHA-256 of the file; a file that you have already sent uses no quota"
    )
    dry_run: bool = Field(default=False, description="only check the file; nothing is saved or counted")

    def request(self, benchmark: str, size: int | None) -> SubmissionRequest:
        """Return the announcement of a score file that has this metadata; the announcement nests cost and provenance.

        Parameters
        ----------
        benchmark
            The name of the benchmark.
        size
            The size of the file in bytes; None if unknown.
        """
        values = self.model_dump(exclude={"dry_run"}) | {"benchmark": benchmark, "size": size}
        for name, model in (("cost", ReportedCost), ("provenance", ReportedProvenance)):
            values[name] = {field: values.pop(field) for field in model.model_fields}
        return SubmissionRequest.model_validate(values)


def stated(reported: BaseModel | None) -> dict[str, Any] | None:
    """Return those fields of a cost or provenance that are not None, by name; None if there are no such fields."""
    return (reported.model_dump(exclude_none=True) or None) if reported else None


class SubmissionRequest(SubmissionFields):
    """The announcement of a score file: the metadata and benchmark of the submission, and the size and SHA-256 of the file.

    ``size`` is in bytes. ``size`` and ``sha256`` are None if not stated.
    """

    benchmark: str
    size: int | None
    sha256: Sha256 | None = None
