"""How many ranked submissions each user has made to a version of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.benchmarks.catalog import are_compatible
from app.db.models import Kind, State, Submission, Version

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def count_attempts(session: Session, version: Version) -> dict[int, int]:
    """Return how many ranked submissions each user made to a version, over all methods, whatever became of them.

    Those to earlier versions that it is compatible with are among them, since what was learned there is of use here.
    """
    query = select(Submission.user_id, func.count()).where(Submission.version_id.in_(_counted_version_ids(version)), *IS_ATTEMPT)
    return dict(session.execute(query.group_by(Submission.user_id)).all())


def count_user_attempts(session: Session, version: Version, user_id: int) -> int:
    """Return how many of the `count_attempts` at a version are those of one user."""
    # Filtered and not selected, or else SQLite may look through the whole board, which has an index on kind and state.
    query = select(func.count().filter(*IS_ATTEMPT))
    query = query.where(Submission.user_id == user_id, Submission.version_id.in_(_counted_version_ids(version)))
    return session.scalar(query) or 0


IS_ATTEMPT = (
    Submission.kind == Kind.RANKED,
    Submission.counted,
    Submission.state.in_([State.SCORED, State.REJECTED, State.WITHDRAWN]),
)
"""What holds of a submission that is an attempt at its version."""


def _counted_version_ids(version: Version) -> list[int]:
    """Return the versions whose attempts are attempts at this one."""
    return [
        known.id
        for known in version.benchmark.versions
        if known.version <= version.version and are_compatible(known, version)
    ]
