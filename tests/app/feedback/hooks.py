"""Webhooks of the users of a test, and the rows of their calls."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from app.accounts import users, webhooks
from app.db.base import now
from app.db.models import State
from app.db.webhooks import CallState, Webhook, WebhookCall
from app.submissions import lifecycle

if TYPE_CHECKING:
    from app.db.sessions import Database
    from tests.app.harness import ServiceHarness

ERROR = {"code": "scores.nonfinite", "detail": "The scores contain a NaN.", "hint": "Remove the NaN."}
ADDRESS = "https://hooks.example.org/ldsboard"


def add_webhook(database: Database, user: str = "alice", url: str = ADDRESS) -> Webhook:
    """Register a webhook of a user; create the user if missing."""
    with database.write() as session:
        return webhooks.register(session, users.add_user(session, user).id, url, limit=100)


def end(harness: ServiceHarness, state: State = State.SCORED, **fields: Any) -> str:
    """Add a submission, of alice by default, and move it to a state in which scoring ends, without scoring; return its id."""
    submission_id = harness.reserve(1, **fields)
    for before, after in pairwise([State.UPLOADING, State.QUEUED, State.SCORING]):
        harness.move(submission_id, before, after)
    error = None if state is State.SCORED else ERROR
    with harness.database.write() as session:
        assert lifecycle.transition(session, submission_id, State.SCORING, state, error=error)
    return submission_id


def calls(database: Database, user: str | None = None) -> list[WebhookCall]:
    """Return the rows of all calls, or of the calls of one user, in the order in which they were queued."""
    with database.read() as session:
        query = select(WebhookCall).join(Webhook).order_by(WebhookCall.created_at, WebhookCall.id)
        if user is not None:
            query = query.where(Webhook.user_id == users.find_user(session, user).id)
        return list(session.scalars(query))


def states(database: Database) -> list[tuple[str, str]]:
    """Return event and state of all calls, in the order in which they were queued."""
    return [(call.event, call.state) for call in calls(database)]


def make_due(database: Database) -> None:
    """Let the pauses of all waiting calls end."""
    with database.write() as session:
        session.execute(update(WebhookCall).where(WebhookCall.state == CallState.WAITING).values(next_at=now()))
