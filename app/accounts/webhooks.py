"""Webhooks of users: registration and removal, and the queue of the calls that a new state of a submission causes.

`app.feedback` makes the calls.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from app.accounts.standing import check_standing
from app.db.accounts import User
from app.db.base import now
from app.db.models import State, Submission, Visibility
from app.db.webhooks import CallState, Webhook, WebhookCall
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the public prefix of a secret
SECRET_BYTES = 32

REPORTED_STATES = frozenset({State.SCORED, State.REJECTED, State.FAILED})
"""The new states of a submission about which webhooks are called."""

MAX_WAITING = 500
"""Maximum number of calls of one webhook that wait to be made. Further calls are not queued."""

DISABLED = "The webhook was disabled, because its receiver failed too often."
"""Error of the calls that waited when their webhook was disabled."""

SHOWN_CALLS = 20
"""Number of calls of each webhook that its owner sees, newest first."""


def register(session: Session, user_id: int, url: str, limit: int) -> Webhook:
    """Register a webhook for a user, with a new random secret, and return the new row.

    `app.feedback.registration` also checks the address and the daily quota, and records the action in the audit log.

    Parameters
    ----------
    url
        The address to call. The caller has checked the address.
    limit
        Maximum number of webhooks of one user.

    Raises
    ------
    ProblemError
        ``request.conflict``: the user already has a webhook with this address.
        ``quota.webhooks``: the user has `limit` webhooks. Also the errors of `check_standing`.
    """
    check_standing(session.get_one(User, user_id))  # may have changed since the authentication
    known = list_webhooks(session, user_id)
    if any(webhook.url == url for webhook in known):
        raise ProblemError(
            "request.conflict",
            "You already have a webhook with this address.",
            "To get a new secret, remove that webhook first (DELETE /api/v1/webhooks/ID).",
        )
    if len(known) >= limit:
        raise ProblemError(
            "quota.webhooks",
            f"The quota is {count(limit, 'webhook')}, and you have {len(known)}.",
            "Remove a webhook that you no longer need, on the page /account/webhooks or with DELETE /api/v1/webhooks/ID."
            if limit
            else "This server calls no webhooks.",
        )
    secret = SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    webhook = Webhook(user_id=user_id, url=url, secret=secret)
    session.add(webhook)
    session.flush()
    return webhook


def list_webhooks(session: Session, user_id: int) -> Sequence[Webhook]:
    """Return the webhooks of a user, oldest first."""
    return session.scalars(select(Webhook).where(Webhook.user_id == user_id).order_by(Webhook.id)).all()


def newest_calls(session: Session, webhooks: Iterable[Webhook]) -> dict[int, Sequence[WebhookCall]]:
    """Return a dictionary from webhook ids to the newest calls of each webhook, at most `SHOWN_CALLS`, newest first."""
    newest = select(WebhookCall).order_by(WebhookCall.created_at.desc(), WebhookCall.id).limit(SHOWN_CALLS)
    return {
        webhook.id: session.scalars(newest.where(WebhookCall.webhook_id == webhook.id)).all() for webhook in webhooks
    }


def remove(session: Session, user_id: int, webhook_id: int) -> None:
    """Delete a webhook of a user, and its calls.

    Raises
    ------
    ProblemError
        ``webhook.unknown``: the user has no such webhook.
    """
    webhook = session.scalar(select(Webhook).where(Webhook.user_id == user_id, Webhook.id == webhook_id))
    if webhook is None:
        raise ProblemError(
            "webhook.unknown", f"You have no webhook {webhook_id}.", "GET /api/v1/webhooks lists your webhooks."
        )
    session.execute(delete(WebhookCall).where(WebhookCall.webhook_id == webhook_id))
    session.delete(webhook)
    session.flush()


def remove_all(session: Session, user_id: int) -> None:
    """Delete all webhooks of a user, and their calls."""
    own = select(Webhook.id).where(Webhook.user_id == user_id)
    session.execute(delete(WebhookCall).where(WebhookCall.webhook_id.in_(own)))
    session.execute(delete(Webhook).where(Webhook.user_id == user_id))


def queue_calls(session: Session, submission_id: str, state: State) -> None:
    """Queue a call of each webhook of a submission's owner; do nothing if `state` is not one of `REPORTED_STATES`.

    The caller commits the new state and the calls together. A disabled webhook, and a webhook with `MAX_WAITING` waiting calls,
    get no further call. No webhook is called about an anonymous submission: everybody who reads the messages of a webhook, for
    example in the channel of a group, knows whose webhook it is, and would learn who the owner is.
    """
    if state not in REPORTED_STATES:
        return
    waiting = select(func.count()).where(WebhookCall.webhook_id == Webhook.id, WebhookCall.state == CallState.WAITING)
    named = select(Submission.user_id).where(
        Submission.id == submission_id, Submission.visibility != Visibility.ANONYMOUS
    )
    owner = named.scalar_subquery()
    called = select(Webhook.id).where(
        Webhook.user_id == owner, Webhook.disabled_at.is_(None), waiting.scalar_subquery() < MAX_WAITING
    )
    for webhook_id in session.scalars(called).all():
        session.add(WebhookCall(webhook_id=webhook_id, submission_id=submission_id, event=state))


def end_waiting(session: Session, webhook_id: int) -> None:
    """Mark all waiting calls of a disabled webhook as failed, with the error `DISABLED`.

    This function does not check that the webhook is disabled.
    """
    waiting = update(WebhookCall).where(WebhookCall.webhook_id == webhook_id, WebhookCall.state == CallState.WAITING)
    session.execute(waiting.values(state=CallState.FAILED, ended_at=now(), error=DISABLED))
