"""The page that a review link opens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from app.management import review_links
from app.pages.content.templates import render
from app.results.review_views import review_view
from app.web.dependencies import ContextDep, ReadSession

# Not `Pages`, because the server caches the responses of `Pages` to anonymous requests.
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get(review_links.PATH)
def show_reviewed(session: ReadSession, context: ContextDep, link: Annotated[str, Query()] = "") -> str:
    """Show a submission to reviewers. The page is the same for every visitor, also for the owner."""
    submission = review_links.find_reviewed(session, link)
    return render("review.html", review=review_view(session, submission, context.prospective_ranks))
