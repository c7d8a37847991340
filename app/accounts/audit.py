"""The audit log: who did what to which subject, when, from which network address.

Triggers of the database refuse every change of a row, and the deletion of a row that is younger than 365 days.
`app.management.retention` deletes the rows that are older than the operator's settings allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.db.accounts import Audit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


MAX_ADDRESS_LENGTH = 64
"""Maximum number of characters of a network address in the audit log."""


class Action(StrEnum):
    """The actions that the audit log records."""

    USER_CHANGED = "user.changed"
    USER_BANNED = "user.banned"
    USER_UNBANNED = "user.unbanned"
    USER_DELETED = "user.deleted"
    TOKEN_CREATED = "token.created"  # noqa: S105 -- the name of an action
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 -- the name of an action
    TOKEN_MINTED = "token.minted"  # noqa: S105 -- the name of an action
    PUBLISHER_ADDED = "publisher.added"
    PUBLISHER_REMOVED = "publisher.removed"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_REMOVED = "webhook.removed"
    BENCHMARK_PUBLISHED = "benchmark.published"
    BENCHMARK_RETIRED = "benchmark.retired"
    BENCHMARK_AS_PUBLISHED = "benchmark.as_published"
    SNAPSHOT_TAKEN = "snapshot.taken"
    SNAPSHOT_REMOVED = "snapshot.removed"
    SUBMISSION_WITHDRAWN = "submission.withdrawn"
    SUBMISSION_EDITED = "submission.edited"
    REVIEW_LINK_MADE = "submission.link_made"
    REVIEW_LINK_WITHDRAWN = "submission.link_withdrawn"
    SUBMISSION_RESCORED = "submission.rescored"
    SUBMISSION_RETRIED = "submission.retried"
    SUBMISSION_SUSPENDED = "submission.suspended"
    SUBMISSION_REINSTATED = "submission.reinstated"


@dataclass(frozen=True)
class Actor:
    """The user who performs an action, with the user's network address; or the operator, who uses the server's command line."""

    name: str
    address: str | None = None


OPERATOR = Actor("(operator)")
"""The operator as an actor. User names contain no parentheses, so no user has this name."""


def record_action(session: Session, actor: Actor, action: Action, subject: str, **detail: Any) -> None:
    """Add a row for an action to the audit log; the caller commits the row together with the action.

    `detail` must be small, because `detail` cannot be removed for a year: the database refuses every change of the row, and in
    the first 365 days also the deletion of the row. For an edit, `detail` therefore holds the names of the edited fields, but not
    the values. The address of the actor is cut after `MAX_ADDRESS_LENGTH` characters.
    """
    # A proxy states the address of a client, and can state a text of any length.
    address = actor.address and actor.address[:MAX_ADDRESS_LENGTH]
    session.add(Audit(actor=actor.name, address=address, action=action, subject=subject, detail=detail or None))
