"""API calls for owners: make and withdraw the review link of a submission."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.management import review_links
from app.web.dependencies import ActorDep, ContextDep, ManagingUser, WriteSession

router = APIRouter(prefix="/submissions/{submission_id}/review-link", tags=["submissions"])


class ReviewLinkView(BaseModel):
    """A new review link of a submission."""

    url: str = Field(description="address to give to reviewers; it is not shown again")
    created_at: datetime


class WithdrawnView(BaseModel):
    """Whether a call ended a review link."""

    withdrawn: bool = Field(description="whether the submission had a review link")


@router.post("", status_code=201)
def make_review_link(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, session: WriteSession, submission_id: str
) -> ReviewLinkView:
    """Make a secret link that shows the result and rank of one of your scored submissions without its owner, for reviewers.

    The link works for private and anonymous submissions too. Its page shows the name of the method, and no other text of yours. A
    submission has one link at most: each call makes a new link and ends the earlier one. Making a link counts as an edit.
    """
    link = review_links.make(session, submission_id, caller, actor, context.quotas.daily)
    return ReviewLinkView(url=link.url(context.settings.public_url), created_at=link.created_at)


@router.delete("")
def withdraw_review_link(
    caller: ManagingUser, actor: ActorDep, session: WriteSession, submission_id: str
) -> WithdrawnView:
    """Withdraw the review link of one of your submissions. Without a link, the call changes nothing."""
    return WithdrawnView(withdrawn=review_links.withdraw(session, submission_id, caller, actor))
