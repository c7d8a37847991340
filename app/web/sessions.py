"""Sessions of browsers: a signed cookie identifies the signed-in user on pages. The API does not accept the cookie.

The cookie holds a number, the session generation of the user. Signing out raises this number in the database, so that all copies
of the cookie become invalid.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request
from itsdangerous import TimestampSigner
from sqlalchemy import update
from sqlalchemy.orm import Session
from starlette.middleware.sessions import SessionMiddleware
from starlette.types import ASGIApp

from app.accounts.audit import Actor
from app.accounts.users import Account
from app.db.accounts import Role, User
from app.keys import MIN_KEY_LENGTH, split_keys
from app.settings import Settings
from app.web.dependencies import ContextDep, client_address
from ldsboard.problems import ProblemError

COOKIE = "ldsboard"
LIFETIME_SECONDS = 12 * 3600
KEY_FILE = "session-key"


def install(app: FastAPI, settings: Settings) -> None:
    """Add the middleware that reads and writes the session cookie.

    If the settings contain no session key, the file `KEY_FILE` in the data folder contains the key. A missing file is created. If
    there are several keys, the first signs.

    Raises
    ------
    RuntimeError
        A key in the file is too short.
    """
    https_only = settings.public_url.startswith("https:")
    app.add_middleware(_Sessions, keys=_session_keys(settings), https_only=https_only)


class _Sessions(SessionMiddleware):
    """Cookies that the first of several keys signs; those that another one of the keys has signed are valid, too."""

    def __init__(self, app: ASGIApp, keys: list[str], *, https_only: bool) -> None:
        super().__init__(
            app, keys[0], session_cookie=COOKIE, max_age=LIFETIME_SECONDS, same_site="lax", https_only=https_only
        )
        self.signer = TimestampSigner(keys[::-1])  # of several keys, it signs with the last


def _session_keys(settings: Settings) -> list[str]:
    """Return the keys of cookies: from the settings, or from a file in the data folder, which is created if missing.

    Raises
    ------
    RuntimeError
        A key in the file has fewer than `MIN_KEY_LENGTH` characters, or there is none.
    """
    if keys := split_keys(settings.session_key.get_secret_value()):
        return keys
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        # Written under another name first: with an empty key, anybody could sign cookies.
        partial = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
        with open(partial, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process created the key first
            path.hardlink_to(partial)
        partial.unlink()
    keys = split_keys(path.read_text())
    shortest = min(map(len, keys), default=0)
    if shortest < MIN_KEY_LENGTH:
        raise RuntimeError(
            f"A session key in {path} has {shortest} characters; at least {MIN_KEY_LENGTH} are required. "
            "Delete the file, and the server will create a new key."
        )
    return keys


def sign_in(request: Request, user: User) -> None:
    """Start a new session for a user, with a new CSRF token for forms; discard all data of an earlier session."""
    request.session.clear()
    request.session.update(user=user.id, generation=user.session_generation, form=secrets.token_urlsafe(16))


def sign_out(request: Request, session: Session, user_id: int) -> None:
    """End all sessions of a user, in this browser and, once the caller has committed `session`, in all others."""
    raised = {User.session_generation: User.session_generation + 1}
    session.execute(update(User).where(User.id == user_id).values(raised))
    request.session.clear()


def _signed_in_user(request: Request, context: ContextDep) -> Account | None:
    user_id = request.session.get("user")
    if user_id is None:
        return None
    with context.database.read() as session:
        user = session.get(User, user_id)
    if user is None or request.session.get("generation") != user.session_generation:
        return None
    # No scopes: a cookie grants reading only. Forms that change something also need the CSRF token of the session.
    return Account(user.id, user.name, Role(user.role), None, frozenset())


SignedInUser = Annotated[Account | None, Depends(_signed_in_user)]


def _form_user(request: Request, user: SignedInUser, form: Annotated[str, Form()] = "") -> Account:
    """Return the user who sent a form.

    Raises
    ------
    ProblemError
        ``auth.form``: nobody is signed in, or the form lacks the CSRF token of the session.
    """
    if user is None or not secrets.compare_digest(form.encode(), request.session["form"].encode()):
        raise ProblemError(
            "auth.form",
            "The form belongs to another session, or has expired.",
            "Open the page again and send its form.",
        )
    return user


FormUser = Annotated[Account, Depends(_form_user)]


def _form_actor(request: Request, user: FormUser) -> Actor:
    return Actor(user.name, client_address(request))


FormActor = Annotated[Actor, Depends(_form_actor)]
