"""Bearer tokens of users. A token is shown once, after its creation; the database keeps only the SHA-256 of the token."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, null, select

from app.accounts.standing import check_standing
from app.db.accounts import Scope, Token, User
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

PREFIX = "ldsb_"
UPLOAD_TOKEN_PREFIX = "ldsu_"  # noqa: S105 -- the public prefix of a secret
"""First characters of an upload token, which allows one multipart upload and nothing else."""

MAX_DAYS = 365
"""Longest lifetime in days that a user may choose for a token, on the account page and in the API."""


def digest(token: str) -> str:
    """Return the SHA-256 of a token, which is stored instead of the token. A token has 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(
    session: Session,
    user: User,
    *,
    name: str | None = None,
    scopes: Iterable[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
    method: str | None = None,
    claims: dict[str, Any] | None = None,
) -> tuple[Token, str]:
    """Create a token for a user; return the database row and the token itself, which cannot be recovered from the row.

    This function checks no quota and writes no row of the audit log.

    Parameters
    ----------
    name
        Name that no other token of the user has; by default, a random name.
    expires_at
        Time from which the token is refused; None: the token never expires.
    method
        The only method whose submissions the token allows; None if the token allows all methods.
    claims
        The identity of the CI run that gets the token; None if a person creates the token.

    Raises
    ------
    ProblemError
        ``request.conflict``: the user already has a token of that name. Also the errors of `check_standing`.
    """
    check_standing(user)
    name = name or f"token-{secrets.token_hex(8)}"
    if session.scalar(select(Token).where(Token.user_id == user.id, Token.name == name)) is not None:
        raise ProblemError(
            "request.conflict",
            f"You already have a token named {name!r}.",
            "Choose another name, or revoke that token first.",
        )
    value = PREFIX + secrets.token_urlsafe(32)
    token = Token(
        user_id=user.id,
        name=name,
        digest=digest(value),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
        method=method,
        claims=claims,
    )
    session.add(token)
    session.flush()
    return token, value


def expiry_time(days: int | None, creator: Token | None = None) -> datetime | None:
    """Return when a new token expires; None if the new token never expires.

    Parameters
    ----------
    days
        Lifetime of the new token in days; None: no limit.
    creator
        The token with which the user creates the new token, if any. The new token never expires later than `creator`.
    """
    ends = [now() + timedelta(days=days)] if days is not None else []
    if creator is not None and creator.expires_at is not None:
        ends.append(creator.expires_at)
    return min(ends, default=None)


def find_token(session: Session, token_id: int | None) -> Token:
    """Return the token with which the caller of the current API call was authenticated.

    Raises
    ------
    ProblemError
        ``auth.invalid``: the token was revoked after the call began, or `token_id` is None.
    """
    token = session.get(Token, token_id) if token_id is not None else None
    if token is None:
        raise ProblemError("auth.invalid", "The token was revoked during this call.", "Send another token.")
    return token


def list_tokens(session: Session, user_id: int) -> Sequence[Token]:
    """Return the tokens of a user, oldest first, without those of CI runs, which live for some minutes."""
    own = select(Token).where(Token.user_id == user_id, Token.claims.is_(null()))
    return session.scalars(own.order_by(Token.id)).all()


def delete_expired(session: Session, user_id: int, prefix: str) -> None:
    """Delete those expired tokens of a user that have a name beginning with `prefix`."""
    has_prefix = Token.name.startswith(prefix, autoescape=True)
    session.execute(delete(Token).where(Token.user_id == user_id, has_prefix, Token.expires_at <= now()))


def revoke(session: Session, user_id: int, *, token_id: int | None = None, name: str | None = None) -> Token:
    """Delete a token of a user, and return the deleted row. `name` selects the token; without `name`, `token_id` does.

    Raises
    ------
    ProblemError
        ``token.unknown``: the user has no such token.
    """
    selected = Token.id == token_id if name is None else Token.name == name
    token = session.scalar(select(Token).where(Token.user_id == user_id, selected))
    if token is None:
        raise ProblemError(
            "token.unknown",
            f"You have no token {token_id if name is None else name!r}.",
            "GET /api/v1/tokens lists your tokens.",
        )
    session.delete(token)
    session.flush()
    return token
