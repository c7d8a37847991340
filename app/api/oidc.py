"""API calls for CI: the exchange of the signed identity of a run (OpenID Connect) for a token that lives for some minutes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, StringConstraints

from app.accounts import identity_tokens, minting
from app.accounts.identity_tokens import VerifiedToken
from app.context import AppContext
from app.db.accounts import Scope
from app.submissions.field_types import IdentityToken, Method
from app.web.dependencies import ContextDep, SettingsDep, client_address

router = APIRouter(prefix="/oidc", tags=["account"])


class AudienceView(BaseModel):
    """The audience of this server."""

    audience: str = Field(description="audience for which a CI run must request its identity token")


class MintRequest(BaseModel, extra="forbid"):
    """An identity token to exchange, and what the new token is for."""

    token: IdentityToken = Field(description="identity token (JSON Web Token) from the CI provider")
    method: Method = Field(description="method that the run submits")
    owner: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="user who trusts the workflow, and to whom the submissions will belong"
    )


class MintedView(BaseModel):
    """A token for a CI run."""

    token: str = Field(description="bearer token; it submits and reads only the method")
    expires_at: datetime
    owner: str = Field(description="user to whom the submissions belong")
    method: str
    scopes: list[Scope]


@router.get("/audience")
def show_audience(settings: SettingsDep) -> AudienceView:
    """Show the audience for which CI runs must request identity tokens, so that a token for another server is useless here."""
    return AudienceView(audience=settings.public_url)


@router.post("/mint-token")
async def mint_token(request: Request, response: Response, context: ContextDep, wanted: MintRequest) -> MintedView:
    """Exchange the identity of a CI run for a token that lives for 15 minutes.

    A user must trust the workflow for the method (`POST /publishers`). An identity token can be exchanged once.
    """
    address = client_address(request)
    context.mint_limiter.count("address", address)
    verified = await identity_tokens.verify(
        wanted.token, context.issuers, context.key_sets, context.settings.public_url
    )
    async with request.app.state.admission.turn(write=True):
        minted = await run_in_threadpool(_mint, context, verified, wanted, address)
    response.headers["Cache-Control"] = "no-store"
    return minted


def _mint(context: AppContext, verified: VerifiedToken, wanted: MintRequest, address: str) -> MintedView:
    with context.database.write() as session:
        token, value = minting.mint(session, verified, wanted.method, wanted.owner, context.quotas, address)
        return MintedView(
            token=value,
            expires_at=token.expires_at or token.created_at,
            owner=token.user.name,
            method=wanted.method,
            scopes=[Scope(scope) for scope in token.scopes],
        )
