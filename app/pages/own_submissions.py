"""The forms of the account page that edit, pin and withdraw a submission of the signed-in user."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.db.models import Visibility
from app.management import editing
from app.management.withdrawal import withdraw_and_delete
from app.pages.content.templates import render
from app.results.submission_views import submission_view
from app.submissions.field_types import Description
from app.web.dependencies import ContextDep, ReadSession, WriteTurn
from app.web.sessions import FormActor, FormUser, SignedInUser

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

BACK = "/account#submissions"


@router.post("/account/submissions/{submission_id}")
def edit_own(
    sender: FormUser,
    actor: FormActor,
    context: ContextDep,
    _turn: WriteTurn,
    submission_id: str,
    visibility: Annotated[Visibility | None, Form()] = None,
    pinned: Annotated[bool | None, Form()] = None,
    description: Annotated[Description | None, Form()] = None,
    tags: Annotated[str | None, Form(pattern=r"^([a-z0-9][a-z0-9-]{0,31}( |$)){0,8}$")] = None,
) -> Response:
    """Change the visibility, pin, description or tags of one's own submission; absent fields stay unchanged."""
    changes = {
        "visibility": visibility and visibility.value,
        "pinned": pinned,
        "description": description,
        "tags": None if tags is None else tags.split(),
    }
    given = {name: value for name, value in changes.items() if value is not None}
    quotas = context.quotas.daily
    editing.edit_and_rank(context.database, context.ranker, quotas, submission_id, sender, actor, given)
    return RedirectResponse(BACK, status.HTTP_303_SEE_OTHER)


@router.get("/account/submissions/{submission_id}/withdraw")
def ask_before_withdrawal(
    request: Request, visitor: SignedInUser, session: ReadSession, submission_id: str
) -> Response:
    """Show the confirmation page for withdrawing one's own submission."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    submission = editing.find_owned(session, submission_id, visitor)
    view = submission_view(session, submission, visitor)
    return HTMLResponse(render("withdraw.html", submission=view, form=request.session["form"]))


@router.post("/account/submissions/{submission_id}/withdraw")
def withdraw_own(
    sender: FormUser, actor: FormActor, context: ContextDep, _turn: WriteTurn, submission_id: str
) -> Response:
    """Withdraw one's own submission and delete its file."""
    withdraw_and_delete(context.database, context.ranker, context.storage, submission_id, sender, actor)
    return RedirectResponse(BACK, status.HTTP_303_SEE_OTHER)
