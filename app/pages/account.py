"""One's own account: signing in and out, tokens, and the page that shows it all."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import audit, external_identities, quotas, tokens
from app.accounts.audit import Action
from app.accounts.users import Account
from app.benchmarks import catalog
from app.context import AppContext
from app.db.accounts import Scope, User
from app.db.base import now
from app.db.models import TRANSITIONS, State, Submission, Visibility
from app.pages.content.templates import render
from app.pages.routing import PublicUrl
from app.results import submission_views
from app.web.dependencies import ContextDep, ReadSession, WriteSession
from app.web.oauth import ProvidersDep
from app.web.sessions import FormActor, FormUser, SignedInUser, sign_in
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

SHOWN = 25
"""Submissions of one's own on one page."""

BROWSER = "browser-"
"""What the names of tokens begin with that a page was given to start an upload."""

BROWSER_LIFETIME = timedelta(hours=1)
"""How long these live; an upload that was started goes on with a capability of its own."""

SEE_OTHER = 303


@router.get("/sign-in")
def show_sign_in(providers: ProvidersDep, public_url: PublicUrl) -> str:
    """Offer the providers to sign in with, or say how else to get a token."""
    return render("sign_in.html", providers=providers.labels, public_url=public_url)


@router.get("/sign-in/{provider}")
async def begin_sign_in(request: Request, context: ContextDep, providers: ProvidersDep, provider: str) -> Response:
    """Go to a provider."""
    back = f"{context.settings.public_url}/sign-in/{provider}/callback"
    return await providers.begin(provider, request, back)


@router.get("/sign-in/{provider}/callback")
async def finish_sign_in(request: Request, context: ContextDep, providers: ProvidersDep, provider: str) -> Response:
    """Come back from a provider."""
    profile = await providers.finish(provider, request)

    def enter() -> User:
        with context.database.write() as session:
            return external_identities.find_or_add_user(session, *profile)

    sign_in(request, await run_in_threadpool(enter))
    return RedirectResponse("/account", SEE_OTHER)


@router.post("/sign-out")
def sign_out(request: Request, _sender: FormUser) -> Response:
    """Forget who signed in."""
    request.session.clear()
    return RedirectResponse("/", SEE_OTHER)


@router.get("/account")
def show_account(
    request: Request,
    context: ContextDep,
    visitor: SignedInUser,
    session: ReadSession,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Response:
    """Show one's own account."""
    if visitor is None:
        return RedirectResponse("/sign-in", SEE_OTHER)
    return _page(request, context, visitor, session, after=after)


@router.post("/account/tokens")
def create_token(
    request: Request,
    context: ContextDep,
    sender: FormUser,
    actor: FormActor,
    session: WriteSession,
    name: Annotated[str, Form(min_length=1, max_length=64)],
    scopes: Annotated[list[Scope], Form(min_length=1)],
    days: Annotated[int, Form(ge=1, le=3650)] = 90,
) -> Response:
    """Create a token and show it, this once."""
    try:
        user = session.get_one(User, sender.id)
        _, value = tokens.create(session, user, name=name, scopes=scopes, expires_at=tokens.lifetime(days))
    except ProblemError as error:
        return _page(request, context, sender, session, problem=error.problem)
    audit.record_action(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=scopes)
    return _page(request, context, sender, session, created=value)


@router.post("/account/submit-token")
def create_submit_token(sender: FormUser, actor: FormActor, session: WriteSession) -> JSONResponse:
    """Create a token that only submits, for an hour, for the page that sends a file: the cookie opens no call of the API."""
    tokens.discard_expired(session, sender.id, BROWSER)
    name, ends = f"{BROWSER}{secrets.token_hex(4)}", now() + BROWSER_LIFETIME
    user = session.get_one(User, sender.id)
    _, value = tokens.create(session, user, name=name, scopes=[Scope.SUBMIT], expires_at=ends)
    audit.record_action(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=[Scope.SUBMIT])
    return JSONResponse({"token": value, "expires_at": ends.isoformat()})


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(
    sender: FormUser, actor: FormActor, session: WriteSession, token_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> Response:
    """Revoke a token, at once."""
    token = tokens.revoke(session, sender.id, token_id=token_id)
    audit.record_action(session, actor, Action.TOKEN_REVOKED, sender.name, token=token.name)
    return RedirectResponse("/account", SEE_OTHER)


def _page(
    request: Request, context: AppContext, account: Account, session: Session, *, after: int = 0, **values: Any
) -> Response:
    query = select(Submission).where(Submission.user_id == account.id)
    count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    newest = session.scalars(query.order_by(Submission.created_at.desc(), Submission.id).offset(after).limit(SHOWN))
    page = render(
        "account.html",
        account=account,
        form=request.session["form"],
        tokens=tokens.listed(session, account.id),
        scopes=list(Scope),
        submissions=submission_views.submission_views(session, newest.all(), account),
        count=count,
        after=after,
        shown=SHOWN,
        visibilities=list(Visibility),
        withdrawable=[state for state, following in TRANSITIONS.items() if State.WITHDRAWN in following],
        quotas=[
            (version.benchmark.name, context.quotas.standing(session, account.id, version))
            for version in catalog.current_versions(session)
        ],
        usage=quotas.usage(session, account.id),
        most_bytes=context.quotas.bytes,
        public_url=context.settings.public_url,
        **{"created": None, "problem": None} | values,
    )
    return HTMLResponse(page)
