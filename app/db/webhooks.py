"""The tables of webhooks and of their calls."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.accounts import User
from app.db.base import Base, now, one_of, random_id
from app.db.models import Submission


class CallState(StrEnum):
    """State of a call of a webhook."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Webhook(Base):
    """An address that the server calls when a submission of a user is scored or rejected, or has failed.

    ``secret`` signs the calls. The server must know the secret itself, because a hash cannot sign. ``failures`` is the number of
    calls that were given up since the last delivered call. ``disabled_at`` is the time from which the server no longer calls the
    address; None if the webhook is not disabled.
    """

    __tablename__ = "webhook"
    __table_args__ = (UniqueConstraint("user_id", "url"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    url: Mapped[str] = mapped_column(String(500))
    secret: Mapped[str] = mapped_column(String(64))
    failures: Mapped[int] = mapped_column(default=0)
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()


class WebhookCall(Base):
    """A call of a webhook about a new state of a submission.

    The row holds no body: the body is written when the call is made. ``attempts`` counts the attempts to deliver the call.
    ``next_at`` is the time of the next attempt. ``status`` is the HTTP status of the last attempt, or None without a response.
    ``error`` says why the last attempt failed. ``ended_at`` is the time at which the call was delivered or given up.
    """

    __tablename__ = "webhook_call"
    __table_args__ = (
        one_of("state", CallState),
        CheckConstraint("(state = 'waiting') = (ended_at IS NULL)", name="ended"),
        Index("ix_webhook_call_due", "state", "next_at"),
        Index("ix_webhook_call_waiting", "webhook_id", "state"),
        Index("ix_webhook_call_recent", "webhook_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True, default=random_id)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhook.id"))
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    event: Mapped[str] = mapped_column(String(16))
    """The new state of the submission."""
    state: Mapped[str] = mapped_column(String(16), default=CallState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(default=now)
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=now)
    ended_at: Mapped[datetime | None]
    webhook: Mapped[Webhook] = relationship()
    submission: Mapped[Submission] = relationship()
