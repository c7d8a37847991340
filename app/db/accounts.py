"""The tables of users, external identities, tokens, trusted CI workflows (publishers) and the audit log."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, now, one_of


class Role(StrEnum):
    """Role of a user. An admin may see, edit, withdraw and suspend every submission, and ban users."""

    USER = "user"
    ADMIN = "admin"


class Scope(StrEnum):
    """What a token allows in addition to reading the data of its user.

    ``submit`` allows sending score files. ``manage`` allows the other changes of the user's data.
    """

    SUBMIT = "submit"
    MANAGE = "manage"  # `app.pages.account.SCOPES` says what it allows


class User(Base):
    """A user.

    ``served_at`` is the time when the evaluation of a queued submission of the user was last claimed; the queue serves the user
    with the earliest time first. A sign-out, a ban and the deletion of the account each add 1 to ``session_generation``, which
    ends all sessions of earlier generations. ``ban`` holds ``reason``, ``contact`` and ``at`` while the user is banned. After the
    deletion of the account, ``name`` is a placeholder name, and ``retired_name`` is the SHA-256 of the former name.
    ``ranked_per_day`` and ``ranked_per_version`` are the user's own quotas; None stands for the default in `Quotas`.

    ``verified`` is true if one person cannot easily have many such users: the operator added or approved the user, or the user
    first signed in through the OpenID Connect provider. ``verified`` is false for a user who first signed in through GitHub,
    because anybody can have many accounts there, unless the operator has approved the user.
    """

    __tablename__ = "user"
    __table_args__ = (one_of("role", Role),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16), default=Role.USER)
    ranked_per_day: Mapped[int | None]
    ranked_per_version: Mapped[int | None]
    verified: Mapped[bool] = mapped_column(default=False, server_default=false())
    served_at: Mapped[datetime | None]
    session_generation: Mapped[int] = mapped_column(default=0, server_default="0")
    ban: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    deleted_at: Mapped[datetime | None]
    retired_name: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Identity(Base):
    """An identity at a sign-in provider, and the user to whom the identity belongs.

    ``subject`` is the provider's identifier of the person. A provider never reuses an identifier for another person. After the
    deletion of the account, ``subject`` holds a hash of the identifier. The row is deleted 90 days later, unless the user was
    banned; see `app.accounts.deleted_accounts`.
    """

    __tablename__ = "identity"

    provider: Mapped[str] = mapped_column(String(300), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()


class Token(Base):
    """A bearer token of a user; the database keeps only the SHA-256 of the token, in ``digest``.

    ``claims`` is None for a token that a person or the operator created. A token that the server gave to a CI run has in
    ``claims`` what the run's signed identity said; see `app.accounts.ci_identities.CiIdentity.as_dict`.

    ``method`` is the only method whose submissions the token allows; None if the token allows all methods.
    """

    __tablename__ = "token"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    expires_at: Mapped[datetime | None]
    method: Mapped[str | None] = mapped_column(String(64))
    claims: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)
    user: Mapped[User] = relationship()


class Publisher(Base):
    """A CI workflow whose runs may submit one method of a user; ``issuer`` signs the identities of the runs.

    ``repository_id`` and ``owner_id`` decide which repository is trusted. ``repository`` is only the name of the repository, as
    the user or the last run stated it. ``workflow`` is the path of the workflow's file in the repository. ``called_workflow`` is
    the repository and path of the reusable workflow to which the job must belong; None if the job must belong to ``workflow``.
    Only runs in ``environment`` and on ``branch`` are accepted. None stands for every environment, or for every branch.

    ``used_at`` is the time at which a run last got a token. ``offered_environment`` is the environment of that run; None if the
    run had none, or if the publisher requires an environment.
    """

    __tablename__ = "publisher"
    __table_args__ = (Index("ix_publisher_repository", "issuer", "repository_id", "method"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    method: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str] = mapped_column(String(300))
    repository: Mapped[str] = mapped_column(String(200))
    repository_id: Mapped[str] = mapped_column(String(20))
    owner_id: Mapped[str] = mapped_column(String(20))
    workflow: Mapped[str] = mapped_column(String(255))
    called_workflow: Mapped[str | None] = mapped_column(String(500))
    environment: Mapped[str | None] = mapped_column(String(255))
    branch: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]
    offered_environment: Mapped[str | None] = mapped_column(String(255))
    user: Mapped[User] = relationship()


class SeenIdentity(Base):
    """A record that an identity token was exchanged for a token; the same identity token is not accepted again.

    ``digest`` is the SHA-256 of `app.accounts.identity_tokens.VerifiedToken`, which identifies the identity token. After
    ``expires_at`` the identity token is refused as expired. Retention then deletes the row, which is no longer needed.
    """

    __tablename__ = "seen_jti"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Audit(Base):
    """An action on an account, a benchmark or a submission, in the audit log.

    Triggers refuse to change rows, and to delete rows that are younger than 365 days.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_actor", "actor", "action", "at"), Index("ix_audit_subject", "subject"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    actor: Mapped[str] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
