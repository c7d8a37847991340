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

from app.db.accounts import Scope, User
from app.db.base import now
from app.db.models import TRANSITIONS, State, Submission, Visibility
from app.dependencies import Reading, TheRooms, Writing
from app.pages.providers import TheProviders
from app.pages.routing import PublicUrl
from app.pages.templates import render
from app.pages.visitors import Acting, Sender, Visitor, sign_in
from app.rooms import Rooms
from app.services import audit, benchmarks, identities, quotas, results, tokens
from app.services.accounts import Account
from app.services.audit import Action
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
def show_sign_in(providers: TheProviders, public_url: PublicUrl) -> str:
    """Offer the providers to sign in with, or say how else to get a token."""
    return render("sign_in.html", providers=providers.labels, public_url=public_url)


@router.get("/sign-in/{provider}")
async def begin_sign_in(request: Request, rooms: TheRooms, providers: TheProviders, provider: str) -> Response:
    """Go to a provider."""
    back = f"{rooms.settings.public_url}/sign-in/{provider}/callback"
    return await providers.begin(provider, request, back)


@router.get("/sign-in/{provider}/callback")
async def finish_sign_in(request: Request, rooms: TheRooms, providers: TheProviders, provider: str) -> Response:
    """Come back from a provider."""
    profile = await providers.finish(provider, request)

    def enter() -> User:
        with rooms.database.write() as session:
            return identities.user_of(session, *profile)

    sign_in(request, await run_in_threadpool(enter))
    return RedirectResponse("/account", SEE_OTHER)


@router.post("/sign-out")
def sign_out(request: Request, _sender: Sender) -> Response:
    """Forget who signed in."""
    request.session.clear()
    return RedirectResponse("/", SEE_OTHER)


@router.get("/account")
def show_account(
    request: Request,
    rooms: TheRooms,
    visitor: Visitor,
    session: Reading,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> Response:
    """Show one's own account."""
    if visitor is None:
        return RedirectResponse("/sign-in", SEE_OTHER)
    return _page(request, rooms, visitor, session, after=after)


@router.post("/account/tokens")
def create_token(
    request: Request,
    rooms: TheRooms,
    sender: Sender,
    actor: Acting,
    session: Writing,
    name: Annotated[str, Form(min_length=1, max_length=64)],
    scopes: Annotated[list[Scope], Form(min_length=1)],
    days: Annotated[int, Form(ge=1, le=3650)] = 90,
) -> Response:
    """Create a token and show it, this once."""
    try:
        user = session.get_one(User, sender.id)
        _, value = tokens.create(session, user, name=name, scopes=scopes, expires_at=tokens.lifetime(days))
    except ProblemError as error:
        return _page(request, rooms, sender, session, problem=error.problem)
    audit.note(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=scopes)
    return _page(request, rooms, sender, session, created=value)


@router.post("/account/submit-token")
def create_submit_token(sender: Sender, actor: Acting, session: Writing) -> JSONResponse:
    """Create a token that only submits, for an hour, for the page that sends a file: the cookie opens no call of the API."""
    tokens.discard_expired(session, sender.id, BROWSER)
    name, ends = f"{BROWSER}{secrets.token_hex(4)}", now() + BROWSER_LIFETIME
    user = session.get_one(User, sender.id)
    _, value = tokens.create(session, user, name=name, scopes=[Scope.SUBMIT], expires_at=ends)
    audit.note(session, actor, Action.TOKEN_CREATED, sender.name, token=name, scopes=[Scope.SUBMIT])
    return JSONResponse({"token": value, "expires_at": ends.isoformat()})


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(
    sender: Sender, actor: Acting, session: Writing, token_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> Response:
    """Revoke a token, at once."""
    token = tokens.revoke(session, sender.id, token_id=token_id)
    audit.note(session, actor, Action.TOKEN_REVOKED, sender.name, token=token.name)
    return RedirectResponse("/account", SEE_OTHER)


def _page(
    request: Request, rooms: Rooms, account: Account, session: Session, *, after: int = 0, **values: Any
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
        submissions=results.views(session, newest.all(), account),
        count=count,
        after=after,
        shown=SHOWN,
        visibilities=list(Visibility),
        withdrawable=[state for state, following in TRANSITIONS.items() if State.WITHDRAWN in following],
        quotas=[
            (version.benchmark.name, rooms.quotas.standing(session, account.id, version))
            for version in benchmarks.current(session)
        ],
        usage=quotas.usage(session, account.id),
        most_bytes=rooms.quotas.bytes,
        public_url=rooms.settings.public_url,
        **{"created": None, "problem": None} | values,
    )
    return HTMLResponse(page)
