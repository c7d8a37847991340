"""The page that a review link opens, and the page on which the owner makes and withdraws the link."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.context import AppContext
from app.management import editing, review_links
from app.pages.content.templates import render
from app.results.review_views import review_view
from app.results.submission_views import submission_view
from app.web.dependencies import ContextDep, ReadSession, WriteSession
from app.web.sessions import FormActor, FormUser, SignedInUser

# No `Pages`: their route keeps responses to anonymous requests, and a reviewer's page must not be kept.
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get(review_links.PATH)
def show_reviewed(session: ReadSession, context: ContextDep, link: Annotated[str, Query()] = "") -> str:
    """Show a submission to reviewers; the page is the same for every visitor, also for the owner."""
    submission = review_links.find_reviewed(session, link)
    return render("review.html", review=review_view(session, submission, context.prospective_ranks))


@router.get("/account/submissions/{submission_id}/review-link")
def show_own_link(
    request: Request, visitor: SignedInUser, context: ContextDep, session: ReadSession, submission_id: str
) -> Response:
    """Show what a review link of one's own submission shows, and whether there is a link."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    return _own_link_page(request, context, visitor, session, submission_id)


@router.post("/account/submissions/{submission_id}/review-link")
def make_own_link(
    request: Request,
    sender: FormUser,
    actor: FormActor,
    context: ContextDep,
    session: WriteSession,
    submission_id: str,
) -> Response:
    """Make a review link of one's own submission, and show the link this once."""
    link = review_links.make(session, submission_id, sender, actor, context.quotas.daily)
    url = link.url(context.settings.public_url)
    return _own_link_page(request, context, sender, session, submission_id, url)


@router.post("/account/submissions/{submission_id}/review-link/withdraw")
def withdraw_own_link(sender: FormUser, actor: FormActor, session: WriteSession, submission_id: str) -> Response:
    """Withdraw the review link of one's own submission, if there is one."""
    review_links.withdraw(session, submission_id, sender, actor)
    return RedirectResponse(f"/account/submissions/{submission_id}/review-link", status.HTTP_303_SEE_OTHER)


def _own_link_page(
    request: Request,
    context: AppContext,
    account: Account,
    session: Session,
    submission_id: str,
    created: str | None = None,
) -> Response:
    submission = editing.find_owned(session, submission_id, account)
    page = render(
        "review_link.html",
        submission=submission_view(session, submission, account),
        made_at=review_links.made_at(session, submission.id),
        created=created,
        public_url=context.settings.public_url,
        form=request.session["form"],
    )
    return HTMLResponse(page)
