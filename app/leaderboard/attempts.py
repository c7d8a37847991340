"""Counts of finished attempts: ranked submissions that count towards the quota and are scored, rejected or withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import BindParameter, bindparam, func, select

from app.benchmarks.catalog import are_compatible
from app.db.accounts import User
from app.db.models import Kind, State, Submission, Version

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Attempts(NamedTuple):
    """The numbers of finished attempts at a version, as `count_attempts` counts them.

    Attributes
    ----------
    by_user
        Number of attempts of each user, by user id; users without attempts are left out.
    unverified
        Ids of the users in ``by_user`` without a verified identity.
    pool
        Number of attempts of all users in ``unverified`` together.
    """

    by_user: dict[int, int]
    unverified: frozenset[int]
    pool: int

    def usable(self, user_id: int) -> int:
        """Return how many results a user could have used: the user's own, and those of all users without a verified identity.

        One person can have many accounts without a verified identity, so any user could own these accounts.

        Raises
        ------
        KeyError
            The user has made no attempt.
        """
        return self.pool + (0 if user_id in self.unverified else self.by_user[user_id])


def count_attempts(session: Session, version: Version) -> Attempts:
    """Return how many finished attempts each user has made at a version.

    All methods of a user are counted together. Attempts at earlier compatible versions are included: a user can send the same
    score file to this version, and has learned from the earlier results how to improve the file.
    """
    session.flush()  # a connection does not flush pending changes by itself
    rows = session.connection().execute(BY_USER, {"version_ids": _counted_version_ids(version)}).all()
    by_user = {user_id: made for user_id, _, made in rows}
    unverified = frozenset(user_id for user_id, verified, _ in rows if not verified)
    return Attempts(by_user, unverified, sum(by_user[user_id] for user_id in unverified))


def count_all_attempts(session: Session, version: Version) -> int:
    """Return the number of finished attempts of all users together at a version.

    Attempts at earlier compatible versions are included, as in `count_attempts`.
    """
    session.flush()
    return session.connection().scalar(ALL, {"version_ids": _counted_version_ids(version)}) or 0


def count_user_attempts(session: Session, version: Version, user_id: int) -> int:
    """Return the number of finished attempts of one user at a version; 0 if the user has made none.

    Attempts at earlier compatible versions are included, as in `count_attempts`.
    """
    # The conditions filter the count instead of the rows. If they were in WHERE, SQLite could choose the index on version, kind
    # and state, and would then scan the whole board.
    query = select(func.count().filter(*IS_ATTEMPT))
    query = query.where(Submission.user_id == user_id, Submission.version_id.in_(_counted_version_ids(version)))
    return session.scalar(query) or 0


IS_ATTEMPT = (
    Submission.kind == Kind.RANKED,
    Submission.counted,
    Submission.state.in_([State.SCORED, State.REJECTED, State.WITHDRAWN]),
)
"""SQL conditions under which a submission is a finished attempt at its version."""

VERSION_IDS: BindParameter[list[int]] = bindparam("version_ids", expanding=True)

BY_USER = (
    select(Submission.user_id, User.verified, func.count())
    .join(User, User.id == Submission.user_id)
    .where(*IS_ATTEMPT, Submission.version_id.in_(VERSION_IDS))
    .group_by(Submission.user_id, User.verified)
)
"""Query of `count_attempts`, built once for speed."""

ALL = select(func.count()).where(*IS_ATTEMPT, Submission.version_id.in_(VERSION_IDS))
"""Query of `count_all_attempts`, built once for speed."""


def _counted_version_ids(version: Version) -> list[int]:
    """Return the ids of `version` and of the earlier compatible versions, whose attempts count as attempts at `version`."""
    earlier = [other for other in version.benchmark.versions if other.version <= version.version]
    return [other.id for other in earlier if are_compatible(other, version)]
