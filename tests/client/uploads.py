"""What the server holds of a user's uploads, for tests of interrupted and repeated sends."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.db.accounts import User
from app.db.models import Submission
from ldsboard import sending
from ldsboard.client import Client, UnreachableError
from ldsboard.pending import PendingUpload, pending_uploads
from tests.client.http_proxy import Answer, HttpProxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service

BROKEN = Answer(502)


def states(service: Service, owner: str) -> list[str]:
    """Return the states of all submissions of a user, oldest first."""
    query = select(Submission.state).join(User, User.id == Submission.user_id).where(User.name == owner)
    with service.database.read() as session:
        return list(session.scalars(query.order_by(Submission.created_at)))


class Sender:
    """A user who sends one score file through a proxy, with calls of the library."""

    def __init__(self, service: Service, proxy: HttpProxy, scores: Path) -> None:
        self.service, self.proxy, self.scores = service, proxy, scores
        self.name = f"user-{secrets.token_hex(6)}"
        self.token = service.token(self.name, ranked_per_day=1, ranked_per_version=1)

    def send(self, token: str = "", **fields: Any) -> dict[str, Any]:
        """Send the file, and return the submission."""
        with Client(self.proxy.url, token or self.token) as client:
            return sending.submit(client, "toy", self.scores, method="x", **fields)

    def break_off(self, **fields: Any) -> PendingUpload:
        """Send the file through a broken proxy, and return the record of the upload that is left."""
        self.proxy.rule = lambda method, _: BROKEN if method == "PUT" else None
        with pytest.raises(UnreachableError):
            self.send(**fields)
        self.proxy.rule = lambda *_: None
        return pending_uploads(self.proxy.url)[-1]

    @property
    def states(self) -> list[str]:
        """The states of the user's submissions; the states after the arrival of the file count as one."""
        return [
            "arrived" if state in {"queued", "scoring", "scored"} else state
            for state in states(self.service, self.name)
        ]
