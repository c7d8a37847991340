"""Attempts: the ranked submissions of each user to a version of a benchmark that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.benchmarks.catalog import are_compatible
from app.db.models import Kind, State, Submission, Version

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def count_attempts(session: Session, version: Version) -> dict[int, int]:
    """Return the number of attempts at a version by user id, over all methods, including rejected and withdrawn submissions.

    Attempts at earlier compatible versions count too, because their results also help to improve a file for this version.
    """
    query = select(Submission.user_id, func.count()).where(*IS_ATTEMPT).group_by(Submission.user_id)
    query = query.where(Submission.version_id.in_(_counted_version_ids(version)))
    return dict(session.execute(query).all())


def count_user_attempts(session: Session, version: Version, user_id: int) -> int:
    """Return the number of attempts of one user at a version, as `count_attempts` counts them."""
    # The conditions filter the count instead of the rows. In WHERE, SQLite may choose the index on version, kind and state, and
    # scan the whole board.
    query = select(func.count().filter(*IS_ATTEMPT))
    query = query.where(Submission.user_id == user_id, Submission.version_id.in_(_counted_version_ids(version)))
    return session.scalar(query) or 0


IS_ATTEMPT = (
    Submission.kind == Kind.RANKED,
    Submission.counted,
    Submission.state.in_([State.SCORED, State.REJECTED, State.WITHDRAWN]),
)
"""SQL conditions under which a submission is an attempt at its version."""


def _counted_version_ids(version: Version) -> list[int]:
    """Return the ids of the versions whose attempts count at `version`: itself and earlier compatible versions."""
    earlier = [other for other in version.benchmark.versions if other.version <= version.version]
    return [other.id for other in earlier if are_compatible(other, version)]
