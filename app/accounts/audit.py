"""The audit log: who did what to what, when and from where. Rows are only ever added; the database refuses anything else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.db.accounts import Audit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Action(StrEnum):
    """What is written down."""

    USER_CHANGED = "user.changed"
    TOKEN_CREATED = "token.created"  # noqa: S105 -- the name of an action
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 -- the name of an action
    BENCHMARK_PUBLISHED = "benchmark.published"
    SUBMISSION_WITHDRAWN = "submission.withdrawn"
    SUBMISSION_EDITED = "submission.edited"
    SUBMISSION_RESCORED = "submission.rescored"


@dataclass(frozen=True)
class Actor:
    """Who acts: a user from an address of the network, or the operator at the server's own command line."""

    name: str
    address: str | None = None


OPERATOR = Actor("(operator)")
"""No user can have this name."""


def record_action(session: Session, actor: Actor, action: Action, subject: str, **detail: Any) -> None:
    """Write down one action, in the transaction that does it."""
    session.add(Audit(actor=actor.name, address=actor.address, action=action, subject=subject, detail=detail or None))
