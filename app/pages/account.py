"""The pages of one's own account: signing in and out, tokens, submissions, quotas."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.accounts import Scope, User
from app.db.models import Submission
from app.dependencies import Reading, TheRooms, Writing
from app.pages.providers import Providers
from app.pages.templates import render
from app.pages.visitors import Acting, Sender, Visitor, sign_in
from app.rooms import Rooms
from app.services import audit, benchmarks, identities, results, tokens
from app.services.accounts import Account
from app.services.audit import Action
from ldsboard.problems import ProblemError

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

SHOWN = 100
"""Submissions of one's own on the page, the newest ones."""

SEE_OTHER = 303


def _providers(request: Request) -> Providers:
    providers: Providers = request.app.state.providers
    return providers


@router.get("/sign-in")
def show_sign_in(request: Request) -> str:
    """Offer the providers to sign in with."""
    return render("sign_in.html", providers=_providers(request).labels)


@router.get("/sign-in/{provider}")
async def begin_sign_in(request: Request, rooms: TheRooms, provider: str) -> Response:
    """Go to a provider."""
    back = f"{rooms.settings.public_url}/sign-in/{provider}/callback"
    return await _providers(request).begin(provider, request, back)


@router.get("/sign-in/{provider}/callback")
async def finish_sign_in(request: Request, rooms: TheRooms, provider: str) -> Response:
    """Come back from a provider."""
    profile = await _providers(request).finish(provider, request)

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
def show_account(request: Request, rooms: TheRooms, visitor: Visitor, session: Reading) -> Response:
    """Show one's own account."""
    if visitor is None:
        return RedirectResponse("/sign-in", SEE_OTHER)
    return _page(request, rooms, visitor, session)


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


@router.post("/account/tokens/{token_id}/revoke")
def revoke_token(
    sender: Sender, actor: Acting, session: Writing, token_id: Annotated[int, Path(ge=1, lt=2**63)]
) -> Response:
    """Revoke a token, at once."""
    token = tokens.revoke(session, sender.id, token_id=token_id)
    audit.note(session, actor, Action.TOKEN_REVOKED, sender.name, token=token.name)
    return RedirectResponse("/account", SEE_OTHER)


def _page(request: Request, rooms: Rooms, account: Account, session: Session, **values: Any) -> Response:
    query = select(Submission).where(Submission.user_id == account.id)
    newest = session.scalars(query.order_by(Submission.created_at.desc(), Submission.id).limit(SHOWN))
    page = render(
        "account.html",
        account=account,
        form=request.session["form"],
        tokens=tokens.listed(session, account.id),
        scopes=list(Scope),
        submissions=[results.view(session, submission, account) for submission in newest],
        shown=SHOWN,
        quotas=[
            (version.benchmark.name, rooms.quotas.standing(session, account.id, version))
            for version in benchmarks.current(session)
        ],
        public_url=rooms.settings.public_url,
        **{"created": None, "problem": None} | values,
    )
    return HTMLResponse(page)
