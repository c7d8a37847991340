"""Response models of webhooks and their calls, as their owner sees them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field

from app.accounts import webhooks
from app.feedback.messages import event_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.webhooks import Webhook, WebhookCall


class CallView(BaseModel):
    """A call of a webhook."""

    id: str = Field(description="the header Webhook-Id of every attempt of this call")
    type: str = Field(description="submission.scored, submission.rejected or submission.failed")
    submission: str = Field(description="id of the submission")
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    status: int | None = Field(description="HTTP status of the last attempt; null if there was no answer")
    error: str | None = Field(description="why the last attempt failed; null if no attempt failed")
    created_at: datetime
    next_at: datetime | None = Field(description="time of the next attempt; null if the call has ended")
    ended_at: datetime | None = Field(description="when the call was delivered or given up; null while it waits")


class WebhookView(BaseModel):
    """A webhook, without its secret."""

    id: int
    url: str
    created_at: datetime
    disabled_at: datetime | None = Field(
        description="since when the server does not call the address any more, because too many calls failed; or null"
    )
    calls: list[CallView] = Field(description="the newest calls, newest first")

    @classmethod
    def of(cls, webhook: Webhook, calls: Sequence[WebhookCall]) -> Self:
        """Return the response model of a webhook with its newest calls."""
        return cls(
            id=webhook.id,
            url=webhook.url,
            created_at=webhook.created_at,
            disabled_at=webhook.disabled_at,
            calls=[_call_view(call) for call in calls],
        )


class NewWebhookView(WebhookView):
    """A webhook that was just registered, with its secret."""

    secret: str = Field(description="key of the signatures; store it now, because it is shown only once")


def _call_view(call: WebhookCall) -> CallView:
    waiting = call.ended_at is None
    return CallView(
        id=call.id,
        type=event_type(call.event),
        submission=call.submission_id,
        state=call.state,  # type: ignore[arg-type]  # a check constraint of the table allows these values only
        attempts=call.attempts,
        status=call.status,
        error=call.error,
        created_at=call.created_at,
        next_at=call.next_at if waiting else None,
        ended_at=call.ended_at,
    )


def webhook_views(session: Session, user_id: int) -> list[WebhookView]:
    """Return the response models of a user's webhooks, oldest first."""
    found = webhooks.list_webhooks(session, user_id)
    calls = webhooks.newest_calls(session, found)
    return [WebhookView.of(webhook, calls[webhook.id]) for webhook in found]
