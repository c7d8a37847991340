"""Users who sign in elsewhere: which account belongs to whom at an identity provider."""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import users
from app.accounts.users import ALIAS_PREFIX
from app.db.accounts import Identity, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST = 40
"""Characters of a name that is made from one elsewhere."""


def find_or_add_user(session: Session, provider: str, subject: str, login: str) -> User:
    """Return the user of somebody who signed in, and add one the first time.

    Parameters
    ----------
    provider, subject
        Issuer and the identifier that it never gives to anybody else: these alone decide whose account it is.
    login
        Name there, from which a free one is made here; whoever changes it keeps the account.
    """
    known = session.get(Identity, (provider, subject))
    if known is not None:
        return known.user
    user = users.add_user(session, _free_name(session, login))
    session.add(Identity(provider=provider, subject=subject, user_id=user.id))
    session.flush()
    return user


def _free_name(session: Session, login: str) -> str:
    """Return a name that nobody has, as much like `login` as names may be."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", login.partition("@")[0].lower()).strip("-._")[:LONGEST] or "user"
    if slug.startswith(ALIAS_PREFIX):
        slug = f"user-{slug}"
    for number in count(1):
        name = slug if number == 1 else f"{slug}-{number}"
        if session.scalar(select(User.id).where(User.name == name)) is None:
            return name
    raise AssertionError("there is always another number")
