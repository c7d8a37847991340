"""API calls for a user's own account and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from app.accounts import audit, quotas, tokens
from app.accounts.audit import Action
from app.accounts.daily_quotas import Daily
from app.db.accounts import Role, Scope, User
from app.web.dependencies import (
    ActorDep,
    ContextDep,
    CurrentUser,
    ManagingUser,
    ReadSession,
    WholeAccountUser,
    WriteSession,
)

router = APIRouter(tags=["account"])


TokenId = Annotated[int, Path(ge=1, lt=2**31)]


class TokenView(BaseModel, from_attributes=True):
    """A token, without its secret value."""

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = Field(description="null if the token never expires")
    method: str | None = Field(description="the only method that the token submits and reads; null if all methods")


class NewTokenView(TokenView):
    """A token that was just created, with its secret value."""

    token: str = Field(description="bearer token; store it now, because it is shown only once")


class DailyUseView(BaseModel):
    """A daily quota of a user, and what is left of it."""

    limit: int | None = Field(description="number allowed in any 24 hours; null if there is no limit")
    left: int | None = Field(description="number left now; null if there is no limit")
    resets_at: datetime | None = Field(description="when the next one is possible if none is left; otherwise null")


class UsageView(BaseModel):
    """What a user has used of the quotas: storage, unfinished uploads, tokens, and the daily quotas."""

    bytes: int = Field(
        description="total size of stored score files, and of files that unfinished uploads have announced"
    )
    bytes_limit: int | None = Field(description="largest total size in bytes; null if there is no limit")
    uploads: int = Field(description="number of unfinished uploads")
    uploads_limit: int | None = Field(description="largest number of unfinished uploads; null if there is no limit")
    tokens: int = Field(description="number of tokens, including expired tokens")
    tokens_limit: int | None = Field(description="largest number of tokens; null if there is no limit")
    daily: dict[Daily, DailyUseView] = Field(
        description="quotas of practice submissions, of uploads that begin, of edits, of new tokens, and of tokens for CI runs"
    )


class AccountView(BaseModel):
    """The account that a token belongs to."""

    name: str
    role: Role
    created_at: datetime
    token: TokenView
    usage: UsageView


class NewToken(BaseModel, extra="forbid"):
    """Name, scopes and lifetime of a token to create."""

    name: str = Field(min_length=1, max_length=64, description="unique among your tokens")
    scopes: list[Scope] = Field(min_length=1, description="a subset of the scopes of the token that makes this call")
    days: int | None = Field(
        default=None,
        ge=1,
        le=tokens.MAX_DAYS,
        description="lifetime in days, by default the longest; the token never outlives the token that makes this call",
    )


@router.get("/users/me")
def show_account(caller: CurrentUser, context: ContextDep, session: ReadSession) -> AccountView:
    """Show the account that your token belongs to, the token's scopes, and your usage of the quotas."""
    user = session.get_one(User, caller.id)
    token = TokenView.model_validate(tokens.find_token(session, caller.token_id))
    used, limits = quotas.usage(session, caller.id), context.quotas
    usage = UsageView(
        **used._asdict(),
        bytes_limit=limits.bytes or None,
        uploads_limit=limits.uploads or None,
        tokens=quotas.count_tokens(session, caller.id),
        tokens_limit=limits.tokens or None,
        daily={what: DailyUseView(**limits.daily.use(session, caller.id, what)._asdict()) for what in Daily},
    )
    return AccountView(name=user.name, role=caller.role, created_at=user.created_at, token=token, usage=usage)


@router.get("/tokens")
def list_tokens(caller: WholeAccountUser, session: ReadSession) -> list[TokenView]:
    """List your tokens without their secret values, the oldest first. The tokens of CI runs are not listed."""
    return [TokenView.model_validate(token) for token in tokens.list_tokens(session, caller.id)]


@router.post("/tokens", status_code=201)
def create_token(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, session: WriteSession, wanted: NewToken
) -> NewTokenView:
    """Create a token for your account.

    Only this response shows the token. The name of a token must be unique, so a repeated call cannot create a second token.
    """
    for scope in wanted.scopes:
        caller.require(scope)
    context.quotas.check_tokens(session, caller.id)
    creator, user = tokens.find_token(session, caller.token_id), session.get_one(User, caller.id)
    # A token of the operator can live for ever. A token that a user creates must not, whichever token creates it.
    expires_at = tokens.expiry_time(wanted.days or tokens.MAX_DAYS, creator)
    token, value = tokens.create(session, user, name=wanted.name, scopes=wanted.scopes, expires_at=expires_at)
    audit.record_action(session, actor, Action.TOKEN_CREATED, caller.name, token=token.name, scopes=token.scopes)
    return NewTokenView(**TokenView.model_validate(token).model_dump(), token=value)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(caller: ManagingUser, actor: ActorDep, session: WriteSession, token_id: TokenId) -> None:
    """Revoke one of your tokens. The token is invalid at once."""
    token = tokens.revoke(session, caller.id, token_id=token_id)
    audit.record_action(session, actor, Action.TOKEN_REVOKED, caller.name, token=token.name)
