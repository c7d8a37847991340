"""The standing of an account: whether the account is banned or deleted, and therefore cannot act."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from app.db.accounts import User


def check_standing(user: User) -> None:
    """Raise an error if an account is banned or deleted.

    Raises
    ------
    ProblemError
        ``auth.banned``: an admin has banned the user. ``auth.deleted``: the account was deleted.
    """
    if user.ban is not None:
        since = datetime.fromisoformat(user.ban["at"])
        raise ProblemError(
            "auth.banned",
            f"An admin banned the user {user.name} on {since:%Y-%m-%d}. Reason: {user.ban['reason']}",
            f"To answer, write to {user.ban['contact']}.",
        )
    if user.deleted_at is not None:
        raise ProblemError(
            "auth.deleted", f"The account was deleted on {user.deleted_at:%Y-%m-%d}.", "Use a token of another account."
        )
