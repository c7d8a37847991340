"""API calls for the webhooks of a user."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from app.feedback import registration
from app.feedback.addresses import MAX_URL_LENGTH
from app.feedback.schemas import NewWebhookView, WebhookView, webhook_views
from app.web.dependencies import ActorDep, ContextDep, ManagingUser, ReadSession, WriteSession

router = APIRouter(prefix="/webhooks", tags=["account"])

WebhookId = Annotated[int, Path(ge=1, lt=2**31)]


class NewWebhook(BaseModel, extra="forbid"):
    """The address of a webhook to register."""

    url: str = Field(
        min_length=1, max_length=MAX_URL_LENGTH, description="https:// address that the server calls with POST"
    )


@router.get("")
def list_webhooks(caller: ManagingUser, session: ReadSession) -> list[WebhookView]:
    """List your webhooks without their secrets, the oldest first, each with its newest calls.

    The token needs the scope `manage`, because the address of a webhook can hold a secret.
    """
    return webhook_views(session, caller.id)


@router.post("", status_code=201)
def register_webhook(
    caller: ManagingUser, actor: ActorDep, context: ContextDep, session: WriteSession, wanted: NewWebhook
) -> NewWebhookView:
    """Register an address that the server calls when one of your submissions is scored or rejected, or has failed.

    Only this response shows the secret that signs the calls. You can register each address once, so a repeated call cannot
    create a second webhook.
    """
    webhook = registration.register(
        session,
        caller.id,
        actor,
        wanted.url,
        context.webhook_addresses,
        context.settings.webhooks_per_user,
        context.quotas.daily,
    )
    return NewWebhookView(**WebhookView.of(webhook, []).model_dump(), secret=webhook.secret)


@router.delete("/{webhook_id}", status_code=204)
def remove_webhook(caller: ManagingUser, actor: ActorDep, session: WriteSession, webhook_id: WebhookId) -> None:
    """Remove one of your webhooks. The server does not call the address any more."""
    registration.remove(session, caller.id, actor, webhook_id)
