"""What remains of deleted accounts: a placeholder name, and hashes by which the server recognises earlier names and sign-ins.

The name of a deleted account is never given to another user, who could otherwise pass for the former owner. The identity of a
deleted account can create a new account only after `WAIT`, and never if the user was banned. Otherwise, a user could get new
quotas, or end a ban, by deleting the account.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING

from sqlalchemy import delete, null, select

from app.accounts import webhooks
from app.accounts.standing import check_standing
from app.db.accounts import Identity, Publisher, Role, Token, User
from app.db.base import now
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

PLACEHOLDER_PREFIX = "deleted-"
"""First characters of the placeholder names of deleted accounts; user names must not begin with these characters."""

HASH_PREFIX = "deleted sha256:"
"""First characters of the hashed subject of a deleted account's identity."""

WAIT = timedelta(days=90)
"""Time after a deletion in which the same identity cannot create a new account."""


def retire(session: Session, user: User) -> None:
    """Turn the account of a user into a placeholder.

    The tokens, publishers and webhooks of the user are deleted, and the sessions end. The former name and the identities are
    stored as hashes only. The role becomes `Role.USER`, and the user's own quotas are removed; a ban stays.
    """
    session.execute(delete(Token).where(Token.user_id == user.id))
    session.execute(delete(Publisher).where(Publisher.user_id == user.id))
    webhooks.remove_all(session, user.id)
    for identity in session.scalars(select(Identity).where(Identity.user_id == user.id)).all():
        identity.subject = _hashed_subject(identity.provider, identity.subject)
    user.retired_name = _digest(user.name)
    user.name = _placeholder(session, user.id)
    user.role, user.ranked_per_day, user.ranked_per_version = Role.USER, None, None
    user.session_generation += 1
    user.deleted_at = now()
    session.flush()


def is_retired(session: Session, name: str) -> bool:
    """Return whether a name belonged to a deleted account."""
    return session.scalar(select(User.id).where(User.retired_name == _digest(name))) is not None


def check_identity(session: Session, provider: str, subject: str) -> None:
    """Check that a new account is allowed for an external identity, which possibly belonged to a deleted account.

    If the identity belonged to a deleted account and a new account is allowed, the stored hash of the identity is deleted.

    Raises
    ------
    ProblemError
        ``auth.banned``: the deleted account was banned.
        ``auth.deleted``: the account was deleted less than `WAIT` ago.
    """
    identity = session.get(Identity, (provider, _hashed_subject(provider, subject)))
    if identity is None or identity.user.deleted_at is None:
        return
    if identity.user.ban is not None:
        check_standing(identity.user)
    if (free_at := identity.user.deleted_at + WAIT) > now():
        raise ProblemError(
            "auth.deleted",
            f"The account of this sign-in was deleted on {identity.user.deleted_at:%Y-%m-%d}.",
            f"Sign in again on {free_at:%Y-%m-%d} or later to create a new account.",
        )
    session.delete(identity)  # otherwise the new account could not be deleted, because its hash would be the same
    session.flush()


def forget_identities(session: Session) -> None:
    """Delete the hashed identities of the accounts that were deleted at least `WAIT` ago, except those of banned users.

    New accounts are allowed for these identities again, so `check_identity` no longer needs their hashes.
    """
    session.execute(delete(Identity).where(Identity.user_id.in_(forgettable_users())))


def forgettable_users() -> Select[int]:
    """Return a query that selects the ids of the users whose hashed identities `forget_identities` deletes."""
    return select(User.id).distinct().join(Identity).where(User.deleted_at <= now() - WAIT, User.ban.is_(null()))


def _placeholder(session: Session, user_id: int) -> str:
    """Return a placeholder name that no user has: ``deleted-`` and the user's id, with a random suffix if a user has that name.

    The name can be in use because the prefix was not always reserved: an older account can have a user name with this prefix.
    """
    name = f"{PLACEHOLDER_PREFIX}{user_id}"
    taken = session.scalar(select(User.id).where(User.name == name)) is not None
    return f"{name}-{token_hex(4)}" if taken else name


def _hashed_subject(provider: str, subject: str) -> str:
    return HASH_PREFIX + _digest(f"{provider}\n{subject}")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
