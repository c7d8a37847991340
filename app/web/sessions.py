"""Who looks at the pages: a signed cookie remembers who signed in. It opens pages, and never the API."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Form, Request
from starlette.middleware.sessions import SessionMiddleware

from app.accounts.audit import Actor
from app.accounts.users import Account
from app.db.accounts import Role, User
from app.settings import SHORTEST_KEY
from app.web.dependencies import ContextDep, client_address
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.settings import Settings

COOKIE = "ldsboard"
LIFETIME_SECONDS = 12 * 3600
KEY_FILE = "session-key"


def install(app: FastAPI, settings: Settings) -> None:
    """Read and write the cookie with every request of a page."""
    app.add_middleware(
        SessionMiddleware,
        secret_key=_key(settings),
        session_cookie=COOKIE,
        max_age=LIFETIME_SECONDS,
        same_site="lax",
        https_only=settings.public_url.startswith("https:"),
    )


def _key(settings: Settings) -> str:
    """Return the key that cookies are signed with: the one that is set, or one kept in the data folder."""
    if key := settings.session_key.get_secret_value():
        return key
    path = settings.data_dir / KEY_FILE
    if not path.exists():
        # Whole before it has its name: with an empty key anybody could sign.
        partial = path.with_name(f"{KEY_FILE}.{secrets.token_hex(8)}")
        with open(partial, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(partial)
        partial.unlink()
    key = path.read_text()
    if len(key) < SHORTEST_KEY:
        raise RuntimeError(
            f"expected a key of at least {SHORTEST_KEY} characters in {path}, got {len(key)}. Delete the file."
        )
    return key


def sign_in(request: Request, user: User) -> None:
    """Remember who signed in; what an earlier session held is gone."""
    request.session.clear()
    request.session.update(user=user.id, form=secrets.token_urlsafe(16))


def _visitor(request: Request, context: ContextDep) -> Account | None:
    user_id = request.session.get("user")
    if user_id is None:
        return None
    with context.database.read() as session:
        user = session.get(User, user_id)
    # No scopes: a cookie lets its owner look, and what a form changes is checked by the form's own token.
    return None if user is None else Account(user.id, user.name, Role(user.role), None, frozenset())


SignedInUser = Annotated[Account | None, Depends(_visitor)]


def _form_token(request: Request) -> str | None:
    """Return what the forms of this session carry."""
    token: str | None = request.session.get("form")
    return token


FormToken = Annotated[str | None, Depends(_form_token)]


def _sender(request: Request, visitor: SignedInUser, form: Annotated[str, Form()] = "") -> Account:
    """Return who sent a form, which must be one that this session was given."""
    if visitor is None or not secrets.compare_digest(form.encode(), str(request.session.get("form")).encode()):
        raise ProblemError(
            "auth.form",
            expected="a form that was opened in the session that you are signed in to",
            got="another one, or one that is too old",
            hint="Open the page again, and send its form.",
        )
    return visitor


FormUser = Annotated[Account, Depends(_sender)]


def _acting(request: Request, sender: FormUser) -> Actor:
    return Actor(sender.name, client_address(request))


FormActor = Annotated[Actor, Depends(_acting)]
