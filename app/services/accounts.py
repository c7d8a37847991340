"""Users and their bearer tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.models import Token, User
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PREFIX = "ldsb_"
_HINT = "Ask the operator for a token (python -m app token create NAME) and send it as 'Authorization: Bearer ldsb_…'."


@dataclass(frozen=True)
class Account:
    """Who makes a request."""

    id: int
    name: str


def add_user(
    session: Session, name: str, *, ranked_per_day: int | None = None, ranked_per_version: int | None = None
) -> User:
    """Add a user, or return the one of that name with its quotas set.

    Raises
    ------
    ValueError
        The name is not a slug.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise ValueError(f"expected a name of lower-case letters, digits, '.', '_' and '-', got {name!r}")
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        user = User(name=name)
        session.add(user)
    user.ranked_per_day = ranked_per_day if ranked_per_day is not None else user.ranked_per_day
    user.ranked_per_version = ranked_per_version if ranked_per_version is not None else user.ranked_per_version
    session.flush()
    return user


def create_token(session: Session, name: str) -> str:
    """Create a token for a user and return it; only its hash is kept.

    Raises
    ------
    ValueError
        There is no such user.
    """
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise ValueError(f"expected the name of a user, got {name!r}. Add it first: python -m app user add {name}")
    token = PREFIX + secrets.token_urlsafe(32)
    session.add(Token(user_id=user.id, digest=_digest(token)))
    session.flush()
    return token


def authenticate(session: Session, authorization: str | None) -> Account:
    """Return whose token an Authorization header holds.

    Raises
    ------
    ProblemError
        ``auth.missing`` or ``auth.invalid``.
    """
    if not authorization:
        raise ProblemError("auth.missing", expected="a bearer token", got="no Authorization header", hint=_HINT)
    scheme, _, value = authorization.partition(" ")
    token = session.scalar(select(Token).where(Token.digest == _digest(value.strip())))
    if scheme.lower() != "bearer" or token is None:
        raise ProblemError("auth.invalid", expected="a bearer token of this server", got="another one", hint=_HINT)
    return Account(token.user.id, token.user.name)


def _digest(token: str) -> str:
    # Tokens are 256 random bits, so a plain hash cannot be searched and needs no salt.
    return hashlib.sha256(token.encode()).hexdigest()
