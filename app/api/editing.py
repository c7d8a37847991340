"""API calls for owners: list, edit and withdraw submissions."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, HttpUrl, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import select, true
from sqlalchemy.orm import joinedload

from app.api.responses import view_submission
from app.db.models import Submission, Version, Visibility
from app.management import editing
from app.management.withdrawal import withdraw_and_delete
from app.results import submission_views
from app.results.schemas import SubmissionView
from app.submissions.field_types import Description, Link, Tags, Title
from app.web.dependencies import ActorDep, ContextDep, CurrentUser, ManagingUser, ReadSession, WriteTurn

router = APIRouter(tags=["submissions"])


class Urls(BaseModel, extra="forbid"):
    """Links to a paper and to code."""

    paper: HttpUrl | None = Field(default=None, max_length=300)
    code: HttpUrl | None = Field(default=None, max_length=300)


class Changes(BaseModel, extra="forbid"):
    """The fields of a submission that can be changed; omitted fields keep their values."""

    title: Annotated[Title, Field(min_length=1)] = ""
    description: Description = ""
    tags: Tags = []
    urls: Urls = Field(default=Urls(), description="replaces both links; use paper and code to change one link")
    paper: Link | None = Field(default=None, description="address of the paper; null removes the link")
    code: Link | None = Field(default=None, description="address of the code; null removes the link")
    visibility: Visibility = Visibility.PUBLIC
    pinned: bool = False
    uses_subsets: bool = Field(
        default=False,
        description="whether the method was fitted to the ranking subsets or to their margins; only an admin can set it back "
        "to false",
    )

    @model_validator(mode="after")
    def _check_links(self) -> Self:
        if "urls" in self.model_fields_set and self.model_fields_set & {"paper", "code"}:
            raise PydanticCustomError("links", "either urls, or paper and code, because both set the same links")
        return self

    def by_name(self) -> dict[str, Any]:
        """Return the values of the fields that the request states, by name.

        A null for ``paper`` or ``code`` is returned as None, which removes the link. Any other null is left out.
        """
        removed = [name for name in ("paper", "code") if name in self.model_fields_set and getattr(self, name) is None]
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True) | dict.fromkeys(removed)


@router.get("/users/me/submissions")
def list_own_submissions(
    caller: CurrentUser,
    session: ReadSession,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[SubmissionView]:
    """List your submissions of every kind, state and visibility, the newest first.

    The list is paged by `after` (number of submissions to skip) and `limit`. With a token that is limited to one method, only the
    submissions of this method are listed.
    """
    query = (
        select(Submission)
        .where(Submission.user_id == caller.id, true() if caller.method is None else Submission.method == caller.method)
        .order_by(Submission.created_at.desc(), Submission.id)
        .offset(after)
        .limit(limit)
        .options(joinedload(Submission.version).joinedload(Version.benchmark))
    )
    return submission_views.submission_views(session, session.scalars(query).all(), caller)


@router.patch("/submissions/{submission_id}")
def edit_submission(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, _turn: WriteTurn, submission_id: str, changes: Changes
) -> SubmissionView:
    """Edit one of your submissions: its texts and links, its visibility, `uses_subsets`, or whether it is pinned.

    An admin can edit every submission.

    A pinned submission is the leaderboard entry of its method, in place of the newest submission.

    `uses_subsets` declares that the method was fitted to the ranking subsets of a practice board. Only an admin can take this
    back.
    """
    quotas = context.quotas.daily
    editing.edit_and_rank(context.database, context.ranker, quotas, submission_id, caller, actor, changes.by_name())
    return view_submission(context, submission_id, caller)


@router.delete("/submissions/{submission_id}", status_code=204)
def withdraw_submission(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, _turn: WriteTurn, submission_id: str
) -> None:
    """Withdraw one of your submissions: delete its results, and its file unless another submission has the same file.

    An admin can withdraw every submission.

    A withdrawn submission still counts towards the quota of ranked or practice submissions if it counted before.

    While the multipart upload of a submission is not completed, this call cancels the upload and deletes the upload parts. The
    submission then does not count towards these quotas, but the upload still counts towards the daily quota of uploads.
    """
    withdraw_and_delete(context.database, context.ranker, context.storage, submission_id, caller, actor)
