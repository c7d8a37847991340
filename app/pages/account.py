"""Sign-in, sign-out, and the account page with the tokens, quotas and submissions of the signed-in user."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import audit, external_identities, publishers, quotas, tokens, webhooks
from app.accounts.audit import Action
from app.accounts.daily_quotas import Daily
from app.accounts.users import Account
from app.benchmarks import catalog
from app.context import AppContext
from app.db.accounts import Scope, User
from app.db.base import now
from app.db.models import TRANSITIONS, State, Submission, Visibility
from app.management.editing import is_closed
from app.pages.content.templates import render
from app.results import submission_views
from app.web import sessions
from app.web.dependencies import ContextDep, ReadSession, SettingsDep, WriteSession
from app.web.oauth import ProvidersDep
from app.web.sessions import FormActor, FormUser, SignedInUser
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

PAGE_SIZE = 25
"""Number of submissions on one page of the account."""

NAME_PREFIX = "browser-"
"""Prefix of the names of the submission form's tokens; the form gets a new token for each upload."""

TOKEN_LIFETIME = timedelta(hours=1)
"""Lifetime of a token for the submission form. An upload may last longer, because once started it uses its upload token."""

SCOPES = {
    Scope.SUBMIT: "sending score files",
    Scope.MANAGE: "editing and withdrawing submissions; tokens, trusted workflows, webhooks; export and deletion of the account",
}
"""What each scope allows."""


class _NewToken(BaseModel):
    """The values of the form for a token."""

    name: str = Field(min_length=1, max_length=64)
    scopes: list[Scope] = Field(min_length=1)
    days: int = Field(ge=1, le=tokens.MAX_DAYS)


@router.get("/sign-in")
def show_sign_in(settings: SettingsDep, providers: ProvidersDep) -> str:
    """Show the sign-in providers; if no provider is configured, explain how to get a token."""
    return render("sign_in.html", providers=providers.labels, scopes=SCOPES, public_url=settings.public_url)


@router.get("/sign-in/{provider}")
async def begin_sign_in(request: Request, settings: SettingsDep, providers: ProvidersDep, provider: str) -> Response:
    """Redirect the browser to a sign-in provider."""
    back = f"{settings.public_url}/sign-in/{provider}/callback"
    return await providers.begin(provider, request, back)


@router.get("/sign-in/{provider}/callback")
async def finish_sign_in(request: Request, context: ContextDep, providers: ProvidersDep, provider: str) -> Response:
    """Handle the redirect back from a sign-in provider: create a new user if necessary, and start the session."""
    profile = await providers.finish(provider, request)

    def find_or_add() -> User:
        with context.database.write() as session:
            return external_identities.find_or_add_user(session, *profile[:3], verified=profile.verified)

    sessions.sign_in(request, await run_in_threadpool(find_or_add))
    return RedirectResponse("/account", status.HTTP_303_SEE_OTHER)


@router.post("/sign-out")
def sign_out(request: Request, sender: FormUser, session: WriteSession) -> Response:
    """End all sessions of the user, in this browser and in all others, and redirect to the home page."""
    sessions.sign_out(request, session, sender.id)
    return RedirectResponse("/", status.HTTP_303_SEE_OTHER)


@router.get("/account")
def show_account(
    request: Request,
    context: ContextDep,
    visitor: SignedInUser,
    session: ReadSession,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Response:
    """Show the account of the signed-in user; redirect other visitors to the sign-in page."""
    if visitor is None:
        return RedirectResponse("/sign-in", status.HTTP_303_SEE_OTHER)
    return _account_page(request, context, visitor, session, after=after)


@router.post("/account/tokens")
def create_token(
    request: Request,
    context: ContextDep,
    sender: FormUser,
    actor: FormActor,
    session: WriteSession,
    name: Annotated[str, Form()] = "",
    scopes: Annotated[tuple[str, ...], Form()] = (),
    days: Annotated[str, Form()] = "",
) -> Response:
    """Create a token and show it once. If a field is invalid or a quota is used up, show the form again with what was typed."""
    try:
        wanted = _read_token(name=name, scopes=scopes, days=days)
        context.quotas.check_tokens(session, sender.id)
        user, expires_at = session.get_one(User, sender.id), tokens.expiry_time(wanted.days)
        token, value = tokens.create(session, user, name=wanted.name, scopes=wanted.scopes, expires_at=expires_at)
    except ProblemError as error:
        typed = {"name": name, "scopes": scopes, "days": days}
        return _account_page(request, context, sender, session, problem=error.problem, typed=typed)
    audit.record_action(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=token.scopes)
    return _account_page(request, context, sender, session, created=value)


@router.post("/account/submit-token")
def create_submit_token(context: ContextDep, sender: FormUser, actor: FormActor, session: WriteSession) -> JSONResponse:
    """Create a token for the submission form, and return the token and its expiry time as JSON.

    The form needs a token, because the API rejects the session cookie. The user's expired tokens of the form are deleted.

    Raises
    ------
    ProblemError
        ``quota.exceeded``: nothing is left of the daily quota of new tokens.
        ``quota.tokens``: the user has as many tokens as the quota allows.
    """
    tokens.delete_expired(session, sender.id, NAME_PREFIX)
    context.quotas.check_tokens(session, sender.id)
    name, expires_at = f"{NAME_PREFIX}{secrets.token_hex(4)}", now() + TOKEN_LIFETIME
    user = session.get_one(User, sender.id)
    _, value = tokens.create(session, user, name=name, scopes=[Scope.SUBMIT], expires_at=expires_at)
    audit.record_action(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=[Scope.SUBMIT])
    return JSONResponse({"token": value, "expires_at": expires_at.isoformat()})


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(
    sender: FormUser, actor: FormActor, session: WriteSession, token_id: Annotated[int, Path(ge=1, lt=2**31)]
) -> Response:
    """Revoke a token of the signed-in user, and redirect to the account page."""
    token = tokens.revoke(session, sender.id, token_id=token_id)
    audit.record_action(session, actor, Action.TOKEN_REVOKED, sender.name, token=token.name)
    return RedirectResponse("/account", status.HTTP_303_SEE_OTHER)


def _read_token(**typed: object) -> _NewToken:
    """Return the values of the form for a token; raise ``request.invalid`` for the first value that is not valid."""
    try:
        return _NewToken.model_validate(typed)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        expected = {
            "name": "1 to 64 characters",
            "scopes": f"at least one of {', '.join(Scope)}",
            "days": f"a whole number from 1 to {tokens.MAX_DAYS}",
        }
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"{field}: {expected[field]}",
            got=repr(typed[field])[:80],
            hint="No token was created. Correct the value and try again.",
        ) from None


def _account_page(
    request: Request, context: AppContext, account: Account, session: Session, *, after: int = 0, **values: Any
) -> Response:
    query = select(Submission).where(Submission.user_id == account.id)
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (Submission.created_at.desc(), Submission.id)
    newest = session.scalars(query.order_by(*order).offset(after).limit(PAGE_SIZE)).all()
    page = render(
        "account.html",
        account=account,
        form=request.session["form"],
        tokens=tokens.list_tokens(session, account.id),
        scopes=SCOPES,
        max_days=tokens.MAX_DAYS,
        submissions=submission_views.submission_views(session, newest, account),
        closed={submission.id for submission in newest if is_closed(submission)},
        count=count,
        after=after,
        page_size=PAGE_SIZE,
        visibilities=list(Visibility),
        withdrawable=[state for state, following in TRANSITIONS.items() if State.WITHDRAWN in following],
        quotas=[
            (version.benchmark.name, context.quotas.remaining(session, account.id, version))
            for version in catalog.current_versions(session)
            if version.benchmark.retired_at is None
        ],
        practice=context.quotas.daily.use(session, account.id, Daily.PRACTICE),
        usage=quotas.usage(session, account.id),
        webhooks=webhooks.list_webhooks(session, account.id),
        publishers=publishers.list_publishers(session, account.id),
        issuers=context.issuers,
        max_bytes=context.quotas.bytes,
        public_url=context.settings.public_url,
        **{"created": None, "problem": None, "typed": {"name": "", "scopes": [Scope.SUBMIT], "days": 90}} | values,
    )
    return HTMLResponse(page)
