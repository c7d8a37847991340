"""Accounts of users who sign in through an identity provider."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import users
from app.accounts.users import ALIAS_PREFIX
from app.db.accounts import Identity, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_NAME_LENGTH = 40
"""Maximum number of characters of a login name that become part of the user name."""


def find_or_add_user(session: Session, provider: str, subject: str, login: str) -> User:
    """Return the user with this external identity; add the user at the first sign-in.

    Parameters
    ----------
    provider, subject
        Issuer, and the issuer's identifier of the user, which the issuer never reuses. Issuer and identifier alone select the
        account.
    login
        Login name at the provider, from which the user name is derived. A user whose login name changes keeps the account.
    """
    identity = session.get(Identity, (provider, subject))
    if identity is not None:
        return identity.user
    user = users.add_user(session, _unused_name(session, login))
    session.add(Identity(provider=provider, subject=subject, user_id=user.id))
    session.flush()
    return user


def _unused_name(session: Session, login: str) -> str:
    """Return an unused user name similar to `login`."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", login.partition("@")[0].lower()).strip("-._")[:MAX_NAME_LENGTH] or "user"
    if slug.startswith(ALIAS_PREFIX):
        slug = f"user-{slug}"
    names = chain([slug], (f"{slug}-{number}" for number in count(2)))
    return next(name for name in names if session.scalar(select(User.id).where(User.name == name)) is None)
