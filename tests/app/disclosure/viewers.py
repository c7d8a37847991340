"""Everybody who may send a request: with no identity, with tokens, and with cookies of sessions; and what each may see."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from itsdangerous import TimestampSigner
from sqlalchemy import select

from app.accounts import tokens, users
from app.db.accounts import Role, Scope, User
from app.db.base import now
from app.db.models import Visibility
from app.web.sessions import COOKIE, KEY_FILE, LIFETIME_SECONDS

if TYPE_CHECKING:
    from tests.app.disclosure.board import Board
    from tests.app.service import Service

OWNERS = tuple(Visibility)
ALL = frozenset(Visibility)


class Viewer(NamedTuple):
    """A sender of requests. `knows` holds the visibilities whose submissions belong to the viewer; an admin knows all."""

    name: str
    headers: dict[str, str]
    knows: frozenset[Visibility] = frozenset()
    secrets: tuple[str, ...] = ()
    """The viewer's own token or cookie, which no response may repeat."""


class _EarlierSigner(TimestampSigner):
    """Signs cookies as if the session had begun when the longest session ended."""

    def get_timestamp(self) -> int:
        """Return the time of the signature."""
        return int(time.time()) - LIFETIME_SECONDS - 60


def create_viewers(board: Board) -> list[Viewer]:
    """Return all viewers of a board, with valid and with worthless tokens and cookies."""
    service = board.service
    owner = f"owner-{Visibility.PRIVATE}"
    found = [Viewer("a visitor", {}), _with_token("another user", board.roles.tokens["other"])]
    private = frozenset({Visibility.PRIVATE})
    found += [
        *(_with_token(f"the {known} owner", token, frozenset({known})) for known, token in board.roles.owners.items()),
        *(_with_token(f"the private owner, {scope}", service.token(owner, scopes=[scope]), private) for scope in Scope),
        _with_token("the private owner, no scope", service.token(owner, scopes=[]), private),
        _with_token("an admin", board.roles.tokens["admin"], ALL),
        _with_token("an expired token of the private owner", _expired_token(service, owner)),
        _with_token("an upload token of the private owner", board.upload.view["capability"]),
        _with_token("a wrong token", f"{tokens.PREFIX}{'x' * 43}"),
        _with_token("Prometheus", service.settings.metrics_token.get_secret_value()),
    ]
    return found + _browsers(board)


def _with_token(name: str, token: str, knows: frozenset[Visibility] = frozenset()) -> Viewer:
    return Viewer(f"{name} (token)", {"Authorization": f"Bearer {token}"}, knows, (token,))


def _expired_token(service: Service, user: str) -> str:
    with service.database.write() as session:
        owner = users.add_user(session, user)
        return tokens.create(session, owner, expires_at=now() - timedelta(seconds=1))[1]


def _browsers(board: Board) -> list[Viewer]:
    database = board.service.database
    with database.read() as session:
        key = (board.service.settings.data_dir / KEY_FILE).read_text()
        people = {user.name: user for user in session.scalars(select(User))}
        (admin,) = (user for user in people.values() if user.role == Role.ADMIN)
    signer = TimestampSigner(key)
    owners = {visibility: people[f"owner-{visibility}"] for visibility in Visibility}
    private = owners[Visibility.PRIVATE]
    signed_out = _with_cookie("a signed-out session of the private owner", signer, private)
    with database.write() as session:
        session.get_one(User, private.id).session_generation += 1
    private.session_generation += 1
    return [
        _with_cookie("another user", signer, people["somebody"]),
        *(_with_cookie(f"the {known} owner", signer, user, frozenset({known})) for known, user in owners.items()),
        _with_cookie("an admin", signer, admin, ALL),
        signed_out,
        _with_cookie("an expired session of the private owner", _EarlierSigner(key), private),
        _with_cookie("a cookie with a wrong signature", TimestampSigner("x" * len(key)), private),
    ]


def _with_cookie(name: str, signer: TimestampSigner, user: User, knows: frozenset[Visibility] = frozenset()) -> Viewer:
    content = {"user": user.id, "generation": user.session_generation, "form": f"form of {name}"}
    cookie = signer.sign(b64encode(json.dumps(content).encode())).decode()
    return Viewer(f"{name} (cookie)", {"Cookie": f"{COOKIE}={cookie}"}, knows, (cookie,))
