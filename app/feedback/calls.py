"""The queue of webhook calls: which calls are due, and what follows from a successful or failed attempt.

An attempt is written down before it is made, together with the time of the next attempt. If the server is killed during an
attempt, the call is therefore made again at that time. A receiver can get the same call twice, with the same id.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, null, select
from sqlalchemy.orm import joinedload

from app.accounts import webhooks
from app.db.accounts import User
from app.db.base import now
from app.db.models import Visibility
from app.db.webhooks import CallState, Webhook, WebhookCall

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 600, 3600, 6 * 3600))
"""Pauses between the attempts of a call, in order."""

MAX_ATTEMPTS = len(PAUSES) + 1

MAX_FAILURES = 5
"""A webhook is disabled when this number of its calls in a row were given up."""


class Outcome(NamedTuple):
    """What came of an attempt: the HTTP status, or None without an answer; the error, or None if the call was delivered."""

    status: int | None
    error: str | None


def due_calls(session: Session, busy: Collection[int], limit: int) -> Sequence[WebhookCall]:
    """Return calls that are due, the longest waiting first: at most one of each user, and at most `limit`.

    Calls of banned users wait until the ban is lifted.

    Parameters
    ----------
    busy
        Ids of the users who have a running call; their other calls wait.
    """
    turn = func.row_number().over(partition_by=Webhook.user_id, order_by=(WebhookCall.next_at, WebhookCall.created_at))
    due = (
        select(WebhookCall.id, turn.label("turn"))
        .join(Webhook)
        .join(User)
        .where(
            WebhookCall.state == CallState.WAITING,
            WebhookCall.next_at <= now(),
            Webhook.user_id.not_in(busy),
            User.ban.is_(null()),
        )
        .subquery()
    )
    first = select(WebhookCall).join(due, due.c.id == WebhookCall.id).where(due.c.turn == 1)
    loaded = (joinedload(WebhookCall.webhook), joinedload(WebhookCall.submission))
    return session.scalars(first.order_by(WebhookCall.next_at).limit(limit).options(*loaded)).all()


def is_outdated(call: WebhookCall) -> bool:
    """Return whether a waiting call must no longer be made.

    A call is outdated if its submission has left the state that the call reports, or has become anonymous.
    """
    return call.submission.state != call.event or call.submission.visibility == Visibility.ANONYMOUS


def begin_attempts(session: Session, call_ids: Collection[str], outdated_ids: Collection[str]) -> None:
    """Record that attempts of some calls begin, and end the outdated calls as failed.

    For each call in `call_ids`, the number of attempts is raised by 1, and the time is saved at which the call is tried again
    if this attempt does not succeed.

    Parameters
    ----------
    call_ids
        Ids of the calls that the caller makes after the commit of `session`.
    outdated_ids
        Ids of the calls for which `is_outdated` is true.
    """
    moment = now()
    for call in session.scalars(select(WebhookCall).where(WebhookCall.id.in_(call_ids))):
        call.next_at = moment + PAUSES[min(call.attempts, len(PAUSES) - 1)]
        call.attempts += 1
    for call in session.scalars(select(WebhookCall).where(WebhookCall.id.in_(outdated_ids))):
        call.state, call.ended_at = CallState.FAILED, moment
        call.error = "The submission has changed since, so nothing was sent."


def record_outcome(session: Session, call_id: str, outcome: Outcome) -> None:
    """Save the outcome of an attempt; do nothing if the call was deleted or has ended meanwhile.

    A call is given up if attempt number `MAX_ATTEMPTS` fails. When `MAX_FAILURES` calls in a row have been given up, the webhook
    is disabled, and the calls that still wait end as failed.
    """
    call = session.get(WebhookCall, call_id)
    if call is None or call.state != CallState.WAITING:
        return
    call.status, call.error = outcome
    webhook = call.webhook
    if outcome.error is None:
        call.state, call.ended_at, webhook.failures = CallState.DELIVERED, now(), 0
    elif call.attempts >= MAX_ATTEMPTS:
        call.state, call.ended_at = CallState.FAILED, now()
        webhook.failures += 1
        if webhook.failures >= MAX_FAILURES:
            session.flush()
            webhook.disabled_at = now()
            webhooks.end_waiting(session, webhook.id)
