"""Bearer tokens: shown once when they are created, kept as their hash, listed by name, and revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.db.accounts import Scope, Token, User
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

PREFIX = "ldsb_"
CAPABILITY = "ldsu_"
"""What the capability to send one upload begins with, which is no token."""


def digest(token: str) -> str:
    """Return the hash that is kept of a token, which is 256 random bits: it cannot be searched for, and needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(
    session: Session,
    user: User,
    *,
    name: str | None = None,
    scopes: Iterable[Scope] = tuple(Scope),
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """Create a token of a user; return its row, and the token itself, which nothing can tell again.

    Raises
    ------
    ProblemError
        ``request.conflict``: the user has a token of that name.
    """
    name = name or f"token-{secrets.token_hex(8)}"
    if session.scalar(select(Token).where(Token.user_id == user.id, Token.name == name)) is not None:
        raise ProblemError(
            "request.conflict",
            expected="a name that no other of your tokens has",
            got=repr(name),
            hint="Choose another name, or revoke the token of that name first.",
        )
    value = PREFIX + secrets.token_urlsafe(32)
    token = Token(user_id=user.id, name=name, digest=digest(value), scopes=sorted(set(scopes)), expires_at=expires_at)
    session.add(token)
    session.flush()
    return token, value


def lifetime(days: int | None, creator: Token | None = None) -> datetime | None:
    """Return when a new token ends: after so many days, and never after the token that it is created with."""
    ends = [now() + timedelta(days=days)] if days is not None else []
    if creator is not None and creator.expires_at is not None:
        ends.append(creator.expires_at)
    return min(ends, default=None)


def listed(session: Session, user_id: int) -> Sequence[Token]:
    """Return the tokens of a user, the oldest first."""
    return session.scalars(select(Token).where(Token.user_id == user_id).order_by(Token.id)).all()


def discard_expired(session: Session, user_id: int, prefix: str) -> None:
    """Delete those tokens of a user whose name begins with `prefix` and whose time is over."""
    named = Token.name.startswith(prefix, autoescape=True)
    session.execute(delete(Token).where(Token.user_id == user_id, named, Token.expires_at <= now()))


def revoke(session: Session, user_id: int, *, token_id: int | None = None, name: str | None = None) -> Token:
    """Delete one of the tokens of a user, given by its id or its name; return what it was.

    Raises
    ------
    ProblemError
        ``token.unknown``: the user has no such token.
    """
    same = Token.id == token_id if name is None else Token.name == name
    token = session.scalar(select(Token).where(Token.user_id == user_id, same))
    if token is None:
        raise ProblemError(
            "token.unknown",
            expected="the id or name of a token of yours",
            got=repr(token_id if name is None else name),
            hint="GET /api/v1/tokens lists them.",
        )
    session.delete(token)
    session.flush()
    return token
