"""Accounts of users who sign in through an identity provider."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import deleted_accounts, users
from app.accounts.standing import check_standing
from app.accounts.users import ALIAS_PREFIX
from app.db.accounts import Identity, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_NAME_LENGTH = 40
"""Maximum number of characters of a login name that become part of the user name."""


def find_or_add_user(session: Session, provider: str, subject: str, login: str, *, verified: bool = False) -> User:
    """Return the user with this external identity; add the user at the first sign-in.

    Parameters
    ----------
    provider, subject
        The identity provider, and the provider's identifier of the user. Together they select the account, because a provider
        never reuses an identifier.
    login
        Login name at the provider, from which the user name is derived. A user whose login name changes keeps the account.
    verified
        Whether a new user is verified, see `User`.

    Raises
    ------
    ProblemError
        ``auth.banned``: an admin has banned the user. ``auth.deleted``: the account was deleted in the last 90 days.
    """
    identity = session.get(Identity, (provider, subject))
    if identity is not None:
        check_standing(identity.user)
        return identity.user
    deleted_accounts.check_identity(session, provider, subject)
    user = users.add_user(session, _unused_name(session, login), verified=verified)
    session.add(Identity(provider=provider, subject=subject, user_id=user.id))
    session.flush()
    return user


def _unused_name(session: Session, login: str) -> str:
    """Return an unused user name similar to `login`."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", login.partition("@")[0].lower()).strip("-._")[:MAX_NAME_LENGTH] or "user"
    if slug.startswith((ALIAS_PREFIX, deleted_accounts.PLACEHOLDER_PREFIX)):
        slug = f"user-{slug}"
    names = chain([slug], (f"{slug}-{number}" for number in count(2)))
    return next(name for name in names if _is_unused(session, name))


def _is_unused(session: Session, name: str) -> bool:
    is_taken = session.scalar(select(User.id).where(User.name == name)) is not None
    return not is_taken and not deleted_accounts.is_retired(session, name)
