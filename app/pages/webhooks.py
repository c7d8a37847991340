"""The page of the signed-in user's webhooks: their state, their newest calls, and forms to add and to remove a webhook."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.context import AppContext
from app.feedback import registration
from app.feedback.schemas import webhook_views
from app.pages.content.templates import render
from app.web.dependencies import ContextDep, ReadSession, WriteSession
from app.web.sessions import FormActor, FormUser, SignedInUser
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/account/webhooks")
def show_webhooks(request: Request, context: ContextDep, visitor: SignedInUser, session: ReadSession) -> Response:
    """Show the webhooks of the signed-in user; redirect other visitors to the sign-in page."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    return _page(request, context, visitor, session)


@router.post("/account/webhooks")
def add_webhook(
    request: Request,
    context: ContextDep,
    sender: FormUser,
    actor: FormActor,
    session: WriteSession,
    url: Annotated[str, Form()] = "",
) -> Response:
    """Register a webhook and show its secret once. If the address is refused or a limit is reached, show the form again."""
    limit, quotas = context.settings.webhooks_per_user, context.quotas.daily
    try:
        webhook = registration.register(
            session, sender.id, actor, url.strip(), context.webhook_addresses, limit, quotas
        )
    except ProblemError as error:
        return _page(request, context, sender, session, problem=error.problem, url=url)
    return _page(request, context, sender, session, created=webhook.secret)


@router.post("/account/webhooks/{webhook_id}/remove")
def remove_webhook(
    sender: FormUser, actor: FormActor, session: WriteSession, webhook_id: Annotated[int, Path(ge=1, lt=2**31)]
) -> Response:
    """Remove a webhook of the signed-in user, and redirect to the page of the webhooks."""
    registration.remove(session, sender.id, actor, webhook_id)
    return RedirectResponse("/account/webhooks", status.HTTP_303_SEE_OTHER)


def _page(request: Request, context: AppContext, account: Account, session: Session, **values: Any) -> Response:
    page = render(
        "webhooks.html",
        account=account,
        form=request.session["form"],
        webhooks=webhook_views(session, account.id),
        limit=context.settings.webhooks_per_user,
        **{"created": None, "problem": None, "url": ""} | values,
    )
    return HTMLResponse(page)
