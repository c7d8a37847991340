"""The pages on which signed-in users trust a CI workflow, and end this trust. The account page lists the trusted workflows."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError

from app.accounts import publishers
from app.accounts.ci_identities import MAX_REPOSITORY, MAX_TEXT, MAX_WORKFLOW
from app.accounts.claim_names import CLAIM_NAMES
from app.context import AppContext
from app.issuers import MAX_ADDRESS_LENGTH
from app.management import trust
from app.pages.content.templates import render
from app.submissions.field_types import Method, expected_value
from app.web.dependencies import ContextDep, PublisherId, ReadSession, WriteSession
from app.web.sessions import FormActor, FormUser, SignedInUser
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

BACK = "/account#ci"
LENGTHS = {
    "method": 64,
    "repository": MAX_REPOSITORY,
    "repository_id": publishers.MAX_ID,
    "owner_id": publishers.MAX_ID,
    "workflow": MAX_TEXT,
    "called_workflow": MAX_WORKFLOW,
    "environment": MAX_TEXT,
    "branch": MAX_TEXT,
}
"""The fields of the form, apart from the issuer, with their maximum numbers of characters."""

Text = Annotated[str, Form()]
"""A field of the form, of any length: a limit here would be reported on another page, without the values of the form."""

_METHOD: TypeAdapter[str] = TypeAdapter(Method)


@router.get("/account/publishers")
def show_form(
    request: Request,
    context: ContextDep,
    visitor: SignedInUser,
    session: ReadSession,
    issuer: Annotated[str, Query(max_length=MAX_ADDRESS_LENGTH)] = "",
    like: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> Response:
    """Show a signed-in user the form for trusting a workflow; redirect other visitors to the sign-in page.

    Parameters
    ----------
    issuer
        Address of the issuer whose workflows the form is for; empty: the first issuer that the server trusts.
    like
        Id of one of the user's publishers. The form is filled with the issuer and the values of this publisher. If the publisher
        requires no environment, the form proposes the environment of the publisher's last run.
    """
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    values: dict[str, str | None] = {}
    if like is not None:
        known = publishers.find(session, visitor.id, like)
        issuer = known.issuer
        values = {name: getattr(known, name) for name in LENGTHS}
        values["environment"] = known.environment or known.offered_environment
    return _form_page(request, context, issuer, values)


@router.post("/account/publishers")
def add_publisher(
    request: Request,
    context: ContextDep,
    sender: FormUser,
    actor: FormActor,
    session: WriteSession,
    method: Text = "",
    issuer: Text = "",
    repository: Text = "",
    repository_id: Text = "",
    owner_id: Text = "",
    workflow: Text = "",
    called_workflow: Text = "",
    environment: Text = "",
    branch: Text = "",
) -> Response:
    """Trust a workflow and redirect to the account page.

    If a field is invalid or a quota is used up, show the form again with what was typed.

    Raises
    ------
    ProblemError
        ``request.invalid``: the server does not trust the issuer, so there is no form that could show what was typed.
    """
    values = {
        "method": method,
        "repository": repository,
        "repository_id": repository_id,
        "owner_id": owner_id,
        "workflow": workflow,
        "called_workflow": called_workflow,
        "environment": environment,
        "branch": branch,
    }
    try:
        _check_method(method.strip())
        trust.add_publisher(session, sender.id, actor, context.quotas, context.issuers, issuer=issuer, **values)
    except ProblemError as error:
        return _form_page(request, context, issuer, values, problem=error.problem)
    return RedirectResponse(BACK, status.HTTP_303_SEE_OTHER)


@router.get("/account/publishers/{publisher_id}/remove")
def ask_before_removal(
    request: Request, visitor: SignedInUser, session: ReadSession, publisher_id: PublisherId
) -> Response:
    """Show the confirmation page for ending the trust in a workflow."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    publisher = publishers.find(session, visitor.id, publisher_id)
    return HTMLResponse(render("remove_publisher.html", publisher=publisher, form=request.session["form"]))


@router.post("/account/publishers/{publisher_id}/remove")
def remove_publisher(sender: FormUser, actor: FormActor, session: WriteSession, publisher_id: PublisherId) -> Response:
    """End the trust in a workflow of the signed-in user, and redirect to the account page."""
    trust.remove_publisher(session, sender.id, actor, publisher_id)
    return RedirectResponse(BACK, status.HTTP_303_SEE_OTHER)


def _check_method(method: str) -> None:
    """Raise ``request.invalid`` unless a name of a method is valid."""
    try:
        _METHOD.validate_python(method)
    except ValidationError as error:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"method: {expected_value(error.errors()[0])}",
            got=repr(method[:80]),
            hint="Nothing was registered. Correct the value and try again.",
        ) from None


def _form_page(
    request: Request, context: AppContext, address: str, values: dict[str, Any], **shown: Any
) -> HTMLResponse:
    """Return the page with the form for the issuer at `address`; if `address` is empty, for the first trusted issuer.

    Raises
    ------
    ProblemError
        ``request.invalid``: the server does not trust the issuer.
    """
    issuer = context.issuers.get(address) if address else next(iter(context.issuers.values()))
    if issuer is None:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"an issuer that this server trusts: {', '.join(context.issuers)}",
            got=repr(address[:80]),
            hint="Open the form from the page /account. The operator can add issuers with the setting LDSBOARD_CI_ISSUERS.",
        )
    page = render(
        "publisher.html",
        form=request.session["form"],
        issuer=issuer,
        issuers=context.issuers.values(),
        claims=CLAIM_NAMES[issuer.provider],
        values=dict.fromkeys(LENGTHS, "") | {name: value or "" for name, value in values.items()},
        lengths=LENGTHS,
        audience=context.settings.public_url,
        **{"problem": None} | shown,
    )
    return HTMLResponse(page)
