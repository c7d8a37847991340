"""Users, and who makes a request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.tokens import CAPABILITY, digest
from app.db.accounts import Role, Scope, Token, User
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_HINT = "Ask the operator for a token (python -m app token create NAME) and send it as 'Authorization: Bearer ldsb_…'."


ALIAS_PREFIX = "anonymous-"
"""Every alias of an anonymous submission begins with it; no user name does."""


@dataclass(frozen=True)
class Account:
    """Who makes a request, and with which token."""

    id: int
    name: str
    role: Role
    token_id: int | None
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raise ``auth.scope`` unless the token allows this."""
        if scope not in self.scopes:
            raise ProblemError(
                "auth.scope",
                expected=f"a token with the scope {scope}",
                got=f"one with {', '.join(sorted(self.scopes)) or 'none'}",
                hint="Use another token, or create one with this scope.",
            )


def holder(user: User) -> Account:
    """Return a user as whoever holds the capability of an upload of theirs: it sees what they see, and allows nothing else."""
    return Account(user.id, user.name, Role.USER, None, frozenset())


def add_user(
    session: Session,
    name: str,
    *,
    role: Role | None = None,
    promote: bool = False,
    ranked_per_day: int | None = None,
    ranked_per_version: int | None = None,
) -> User:
    """Add a user, or return the one of that name with its role and quotas set.

    Parameters
    ----------
    promote
        Let somebody who is there already become an admin. Names are first come, first served, among strangers who sign in too.

    Raises
    ------
    ValueError
        The name is not a slug, or looks like an alias, or is that of somebody who was not to be promoted.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise ValueError(f"expected a name of lower-case letters, digits, '.', '_' and '-', got {name!r}")
    if name.startswith(ALIAS_PREFIX):
        raise ValueError(f"expected a name that does not begin with {ALIAS_PREFIX}, as aliases do, got {name!r}")
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        user = User(name=name, role=Role.USER)
        session.add(user)
    elif role is Role.ADMIN and user.role != role and not promote:
        raise ValueError(
            f"expected a new name for an admin, got {name}, who is there since {user.created_at:%Y-%m-%d} and may be a stranger "
            "who signed in. Choose another name, or add --promote if you know who that is."
        )
    user.role = user.role if role is None else role
    user.ranked_per_day = ranked_per_day if ranked_per_day is not None else user.ranked_per_day
    user.ranked_per_version = ranked_per_version if ranked_per_version is not None else user.ranked_per_version
    session.flush()
    return user


def find_user(session: Session, name: str) -> User:
    """Return the user of this name.

    Raises
    ------
    ValueError
        There is no such user.
    """
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise ValueError(f"expected the name of a user, got {name!r}. Add it first: python -m app user add {name}")
    return user


def authenticate(session: Session, authorization: str | None) -> Account:
    """Return whose token an Authorization header holds.

    Raises
    ------
    ProblemError
        ``auth.missing``, ``auth.invalid`` or ``auth.expired``.
    """
    if not authorization:
        raise ProblemError("auth.missing", expected="a bearer token", got="no Authorization header", hint=_HINT)
    scheme, _, value = authorization.partition(" ")
    token = session.scalar(select(Token).where(Token.digest == digest(value.strip())))
    if token is None and value.strip().startswith(CAPABILITY):
        raise ProblemError(
            "auth.invalid",
            expected="a token of a user",
            got="the capability of an upload, which opens the parts of that one upload while they come",
            hint="Send a token that begins with ldsb_; what is public is shown without an Authorization header.",
        )
    if scheme.lower() != "bearer" or token is None:
        raise ProblemError("auth.invalid", expected="a bearer token of this server", got="another one", hint=_HINT)
    if token.expires_at is not None and token.expires_at <= now():
        raise ProblemError(
            "auth.expired",
            expected="a token that is still valid",
            got=f"one that expired at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC",
            hint=_HINT,
        )
    scopes = frozenset(Scope(scope) for scope in token.scopes)
    return Account(token.user.id, token.user.name, Role(token.user.role), token.id, scopes)
