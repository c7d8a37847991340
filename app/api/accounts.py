"""One's own account and tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, Field

from app.accounts import audit, quotas, tokens
from app.accounts.audit import Action
from app.db.accounts import Role, Scope, Token, User
from app.web.dependencies import ActorDep, ContextDep, CurrentUser, ManagingUser, ReadSession, WriteSession

router = APIRouter(tags=["account"])


TokenId = Annotated[int, Path(ge=1, lt=2**63)]


class TokenView(BaseModel):
    """What is told of a token; never the token itself."""

    id: int
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = Field(description="null: never")

    @classmethod
    def of(cls, token: Token) -> TokenView:
        """Return the view of a token."""
        scopes = [Scope(scope) for scope in token.scopes]
        return cls(
            id=token.id, name=token.name, scopes=scopes, created_at=token.created_at, expires_at=token.expires_at
        )


class NewTokenView(TokenView):
    """A token that was just created."""

    token: str = Field(description="to be kept now: it is not shown again")


class UsageView(BaseModel):
    """What a user has on the server, and may have."""

    bytes: int = Field(description="of the score files that are kept, and of those that uploads under way announced")
    bytes_limit: int | None = Field(description="null: none")
    uploads: int = Field(description="that are under way")
    uploads_limit: int | None = Field(description="null: none")


class AccountView(BaseModel):
    """Who a token belongs to."""

    name: str
    role: Role
    created_at: datetime
    token: TokenView
    usage: UsageView


class NewToken(BaseModel, extra="forbid"):
    """What is asked of a new token."""

    name: str = Field(min_length=1, max_length=64, description="to tell it from others of yours")
    scopes: list[Scope] = Field(min_length=1, description="at most those of the token that creates it")
    days: int | None = Field(
        default=None, ge=1, le=3650, description="until it expires; by default with the token that creates it"
    )


@router.get("/users/me")
def show_account(caller: CurrentUser, context: ContextDep, session: ReadSession) -> AccountView:
    """Show whose token this is, what it allows, and what its user has on the server."""
    user, token = session.get_one(User, caller.id), session.get_one(Token, caller.token_id)
    used, limits = quotas.usage(session, caller.id), context.quotas
    usage = UsageView(**used._asdict(), bytes_limit=limits.bytes or None, uploads_limit=limits.uploads or None)
    return AccountView(
        name=user.name, role=caller.role, created_at=user.created_at, token=TokenView.of(token), usage=usage
    )


@router.get("/tokens")
def list_tokens(caller: CurrentUser, session: ReadSession) -> list[TokenView]:
    """List your tokens, the oldest first."""
    return [TokenView.of(token) for token in tokens.list_tokens(session, caller.id)]


@router.post("/tokens", status_code=201)
def create_token(
    caller: ManagingUser, actor: ActorDep, session: WriteSession, wanted: Annotated[NewToken, Body()]
) -> NewTokenView:
    """Create a token of yours, which only this answer shows; its name is unique, so a repeated call makes no second."""
    for scope in wanted.scopes:
        caller.require(scope)
    creator = session.get_one(Token, caller.token_id)
    token, value = tokens.create(
        session,
        session.get_one(User, caller.id),
        name=wanted.name,
        scopes=wanted.scopes,
        expires_at=tokens.expiry_time(wanted.days, creator),
    )
    audit.record_action(session, actor, Action.TOKEN_CREATED, caller.name, token=token.name, scopes=token.scopes)
    return NewTokenView(**TokenView.of(token).model_dump(), token=value)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(caller: ManagingUser, actor: ActorDep, session: WriteSession, token_id: TokenId) -> None:
    """Revoke a token of yours, at once."""
    token = tokens.revoke(session, caller.id, token_id=token_id)
    audit.record_action(session, actor, Action.TOKEN_REVOKED, caller.name, token=token.name)
