"""The audit log: who did what to which subject, when, from which network address. A trigger refuses to change or delete rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.db.accounts import Audit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Action(StrEnum):
    """The actions that the audit log records."""

    USER_CHANGED = "user.changed"
    TOKEN_CREATED = "token.created"  # noqa: S105 -- the name of an action
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 -- the name of an action
    BENCHMARK_PUBLISHED = "benchmark.published"
    SUBMISSION_WITHDRAWN = "submission.withdrawn"
    SUBMISSION_EDITED = "submission.edited"
    SUBMISSION_RESCORED = "submission.rescored"


@dataclass(frozen=True)
class Actor:
    """The user who performs an action, with the user's network address; or the operator, who uses the server's command line."""

    name: str
    address: str | None = None


OPERATOR = Actor("(operator)")
"""The operator as an actor. User names contain no parentheses, so no user has this name."""


def record_action(session: Session, actor: Actor, action: Action, subject: str, **detail: Any) -> None:
    """Record an action in the audit log, in the transaction that performs the action."""
    session.add(Audit(actor=actor.name, address=actor.address, action=action, subject=subject, detail=detail or None))
