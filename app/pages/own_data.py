"""The account page's download of everything that is stored about the user, and the deletion of the account."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from app.accounts import deleted_accounts
from app.accounts.users import Account
from app.context import AppContext
from app.management import account_deletion
from app.pages.content.templates import render
from app.results.account_export import export_account
from app.web.dependencies import ContextDep, ReadSession, WriteTurn
from app.web.sessions import FormActor, FormUser, SignedInUser
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.post("/account/export")
def export_own_account(sender: FormUser, context: ContextDep) -> StreamingResponse:
    """Send what the server stores about the signed-in user, as a JSON file; `export_account` names what is left out."""
    headers = {
        "Content-Disposition": f'attachment; filename="ldsboard-{sender.name}.json"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(
        export_account(context.database, sender.id), media_type="application/json", headers=headers
    )


@router.get("/account/delete")
def ask_before_deletion(request: Request, context: ContextDep, visitor: SignedInUser, session: ReadSession) -> Response:
    """Show the confirmation page for deleting one's own account; redirect visitors who are not signed in to the sign-in page."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    return _confirmation_page(request, context, visitor, session)


@router.post("/account/delete")
def delete_own_account(
    request: Request,
    sender: FormUser,
    actor: FormActor,
    context: ContextDep,
    _turn: WriteTurn,
    confirm: Annotated[str, Form()] = "",
) -> Response:
    """Delete the account of the signed-in user, and show the placeholder name that now stands for the account.

    If `confirm` is not the name of the account, delete nothing, and show the confirmation page again.
    """
    try:
        account_deletion.check_confirmation(confirm, sender.name)
    except ProblemError as error:
        with context.database.read() as session:
            return _confirmation_page(request, context, sender, session, problem=error.problem, confirm=confirm)
    placeholder = account_deletion.delete_account(context.database, context.ranker, context.storage, sender.id, actor)
    request.session.clear()
    return HTMLResponse(render("account_deleted.html", placeholder=placeholder))


def _confirmation_page(
    request: Request, context: AppContext, account: Account, session: Session, **shown: Any
) -> Response:
    page = render(
        "delete_account.html",
        account=account,
        extent=account_deletion.extent(session, account.id),
        wait_days=deleted_accounts.WAIT.days,
        audit_days=context.settings.audit_days,
        form=request.session["form"],
        **{"problem": None, "confirm": ""} | shown,
    )
    return HTMLResponse(page)
