"""The page on which the signed-in user makes and withdraws the review link of a submission."""

from __future__ import annotations

from fastapi import APIRouter, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.management import editing, review_links
from app.pages.content.templates import render
from app.results.submission_views import submission_view
from app.web.dependencies import ContextDep, ReadSession, WriteSession
from app.web.sessions import FormActor, FormUser, SignedInUser

router = APIRouter(
    prefix="/account/submissions/{submission_id}/review-link",
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


@router.get("")
def show_own_link(request: Request, visitor: SignedInUser, session: ReadSession, submission_id: str) -> Response:
    """Show what a review link of one's own submission shows, and whether there is a link."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    return _own_link_page(request, visitor, session, submission_id)


@router.post("")
def make_own_link(
    request: Request,
    sender: FormUser,
    actor: FormActor,
    context: ContextDep,
    session: WriteSession,
    submission_id: str,
) -> Response:
    """Make a review link of one's own submission, end the earlier link if there is one, and show the new link this once."""
    link = review_links.make(session, submission_id, sender, actor, context.quotas.daily)
    return _own_link_page(request, sender, session, submission_id, link.url(context.settings.public_url))


@router.post("/withdraw")
def withdraw_own_link(sender: FormUser, actor: FormActor, session: WriteSession, submission_id: str) -> Response:
    """Withdraw the review link of one's own submission, if there is one."""
    review_links.withdraw(session, submission_id, sender, actor)
    return RedirectResponse(f"/account/submissions/{submission_id}/review-link", status.HTTP_303_SEE_OTHER)


def _own_link_page(
    request: Request, account: Account, session: Session, submission_id: str, created: str | None = None
) -> Response:
    submission = editing.find_owned(session, submission_id, account)
    page = render(
        "review_link.html",
        submission=submission_view(session, submission, account),
        made_at=review_links.made_at(session, submission.id),
        created=created,
        form=request.session["form"],
    )
    return HTMLResponse(page)
