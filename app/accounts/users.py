"""Users, and the authentication of requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import null, select

from app.accounts.audit import Action, record_action
from app.accounts.deleted_accounts import PLACEHOLDER_PREFIX, is_retired
from app.accounts.standing import check_standing
from app.accounts.tokens import UPLOAD_TOKEN_PREFIX, digest
from app.db.accounts import Role, Scope, Token, User
from app.db.base import now
from ldsboard.invocation import program
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor

_HINT = "Ask the operator for a token (python -m app token create NAME) and send it as 'Authorization: Bearer ldsb_…'."

ALIAS_PREFIX = "anonymous-"
"""First characters of every alias; user names must not begin with these characters."""


@dataclass(frozen=True)
class Account:
    """The user who makes a request, and what the token in the request allows.

    Attributes
    ----------
    role
        The role of the user; always `Role.USER` for a token that allows one method only.
    token_id
        Id of the token; None if the request has no token, as in the session of a browser.
    scopes
        The scopes of the token; empty without a token.
    method
        The only method whose submissions the token allows; None if the token allows all methods.
    verified_origin
        The provenance that the identity of a CI run states for files sent with the token; None for tokens of persons.
    """

    id: int
    name: str
    role: Role
    token_id: int | None
    scopes: frozenset[Scope]
    method: str | None = None
    verified_origin: dict[str, Any] | None = None

    def require(self, scope: Scope) -> None:
        """Raise ``auth.scope`` unless the token has this scope."""
        if scope not in self.scopes:
            raise ProblemError(
                "auth.scope",
                f"This call needs the scope {scope}; the token has {', '.join(sorted(self.scopes)) or 'none'}.",
                "Use another token, or create one with this scope.",
            )

    def allows_method(self, method: str) -> bool:
        """Return whether the token allows submissions of a method."""
        return self.method in (None, method)

    def require_method(self, method: str) -> None:
        """Raise ``auth.method`` unless the token allows submissions of a method."""
        if not self.allows_method(method):
            raise ProblemError.mismatch(
                "auth.method",
                expected=f"a submission of the method {self.method}, for which the token was issued",
                got=f"the method {method!r}",
                hint="Request a token for the other method, or use a token that you create on the page /account.",
            )

    def require_all_methods(self) -> None:
        """Raise ``auth.method`` if the token allows the submissions of one method only."""
        if self.method is not None:
            raise ProblemError(
                "auth.method",
                f"The token was issued for the method {self.method} alone, and this call is about the whole account.",
                "Use a token that you create on the page /account.",
            )


def read_only_account(user: User) -> Account:
    """Return an account that sees the submissions of a user as the user does, and that has no token and no scopes.

    The role is `Role.USER`, also for an admin.
    """
    return Account(user.id, user.name, Role.USER, None, frozenset())


def add_user(
    session: Session,
    name: str,
    *,
    role: Role | None = None,
    promote: bool = False,
    ranked_per_day: int | None = None,
    ranked_per_version: int | None = None,
    verified: bool = True,
) -> User:
    """Add a user, or change the role and quotas of the user with this name; return the user.

    Parameters
    ----------
    role
        None: a new user gets `Role.USER`, and an existing user keeps the role.
    ranked_per_day, ranked_per_version
        The user's own quotas of ranked submissions. None: a new user gets the default quota, an existing user keeps the quota.
    promote
        Allow an existing user to become an admin. By default the promotion is refused, because a stranger can have got this name
        by signing in.
    verified
        Whether a new user is verified, see `User`. For an existing user, `verified` is ignored.

    Raises
    ------
    ValueError
        The name is not a valid user name, begins like an alias or a placeholder name, or belonged to a deleted account.
        Also if an existing user would become an admin and `promote` is False.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name):
        raise ValueError(
            f"{name!r} is not a user name. Use at most 64 lower-case letters, digits, '.', '_' and '-'; "
            "begin with a letter or a digit."
        )
    if name.startswith(ALIAS_PREFIX):
        raise ValueError(
            f"{name!r} is not a user name: names that begin with {ALIAS_PREFIX} are aliases. Choose another name."
        )
    if name.startswith(PLACEHOLDER_PREFIX):
        raise ValueError(
            f"{name!r} is not a user name: names that begin with {PLACEHOLDER_PREFIX} stand for deleted accounts. "
            "Choose another name."
        )
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        if is_retired(session, name):
            raise ValueError(f"The name {name!r} belonged to an account that was deleted. Choose another name.")
        user = User(name=name, role=Role.USER, verified=verified)
        session.add(user)
    elif role is Role.ADMIN and user.role != role and not promote:
        raise ValueError(
            f"User {name} has existed since {user.created_at:%Y-%m-%d} and may be a stranger who signed in. "
            "Choose another name for the admin, or add --promote if you know this user."
        )
    user.role = user.role if role is None else role
    user.ranked_per_day = ranked_per_day if ranked_per_day is not None else user.ranked_per_day
    user.ranked_per_version = ranked_per_version if ranked_per_version is not None else user.ranked_per_version
    session.flush()
    return user


def find_user(session: Session, name: str) -> User:
    """Return the user with this name.

    Raises
    ------
    ValueError
        No user has this name, or the account with this name was deleted.
    """
    user = session.scalar(select(User).where(User.name == name))
    if is_retired(session, name) or (user is not None and user.deleted_at is not None):
        raise ValueError(f"There is no user {name!r}: the account was deleted.")
    if user is None:
        raise ValueError(f"There is no user {name!r}. Add the user first: {program('python')} -m app user add {name}")
    return user


def approve(session: Session, user: User, actor: Actor) -> bool:
    """Vouch for a user, who becomes verified, see `User`; return False if the user was verified before."""
    if user.verified:
        return False
    user.verified = True
    record_action(session, actor, Action.USER_CHANGED, user.name, verified=True)
    return True


def unverified(session: Session, limit: int) -> list[User]:
    """Return the newest users without a verified identity, at most `limit`; without banned users and deleted accounts."""
    query = select(User).where(User.verified.is_(False), User.ban.is_(null()), User.deleted_at.is_(None))
    return list(session.scalars(query.order_by(User.id.desc()).limit(limit)))


def authenticate(session: Session, authorization: str | None) -> Account:
    """Authenticate a request by its Authorization header; return the account of the bearer token.

    Raises
    ------
    ProblemError
        ``auth.missing``: there is no header. ``auth.invalid``: the header holds no valid token. ``auth.expired``: the token has
        expired. ``auth.banned``: an admin has banned the user.
    """
    if not authorization:
        raise ProblemError("auth.missing", "The request has no Authorization header.", _HINT)
    scheme, _, value = authorization.partition(" ")
    token = session.scalar(select(Token).where(Token.digest == digest(value.strip())))
    if token is None and value.strip().startswith(UPLOAD_TOKEN_PREFIX):
        raise ProblemError(
            "auth.invalid",
            "The Authorization header holds an upload token, which is valid only for its own upload.",
            "Send a token that begins with ldsb_. Public pages and calls need no Authorization header.",
        )
    if scheme.lower() != "bearer" or token is None:
        raise ProblemError("auth.invalid", "The Authorization header holds no bearer token of this server.", _HINT)
    if token.expires_at is not None and token.expires_at <= now():
        raise ProblemError("auth.expired", f"The token expired at {token.expires_at:%Y-%m-%d %H:%M:%S} UTC.", _HINT)
    check_standing(token.user)
    scopes = frozenset(Scope(scope) for scope in token.scopes)
    # A token for one method has no rights on the submissions of others, even if its user is an admin.
    role = Role(token.user.role) if token.method is None else Role.USER
    origin = (token.claims or {}).get("provenance")
    return Account(token.user.id, token.user.name, role, token.id, scopes, token.method, origin)
