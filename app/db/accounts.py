"""The tables of users, external identities, tokens and the audit log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, now, one_of


class Role(StrEnum):
    """Role of a user; an admin has the owner's rights on every submission."""

    USER = "user"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token allows in addition to reading its user's data."""

    SUBMIT = "submit"
    MANAGE = "manage"  # edit and withdraw submissions, create and revoke tokens


class User(Base):
    """A user; ``served_at`` is the time when an evaluation of this user was last claimed, for turns in the queue."""

    __tablename__ = "user"
    __table_args__ = (one_of("role", Role),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16), default=Role.USER)
    ranked_per_day: Mapped[int | None]
    ranked_per_version: Mapped[int | None]
    served_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Identity(Base):
    """The account that belongs to an identity at a provider; a provider never reuses a subject for another person."""

    __tablename__ = "identity"

    provider: Mapped[str] = mapped_column(String(300), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()


class Token(Base):
    """A bearer token; the database keeps only its SHA-256."""

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()


class Audit(Base):
    """An audited action on an account, a benchmark or a submission; a trigger refuses to change or delete rows."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
