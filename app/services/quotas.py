"""How many ranked submissions a user may make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from app.db.accounts import User
from app.db.base import now
from app.db.models import Kind, State, Submission, Version
from app.errors import QuotaError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class Standing(NamedTuple):
    """What a user may submit, and how much of that is left: in 24 hours, and to one version.

    ``resets_at`` is when the next is possible, where none is left in 24 hours.
    """

    per_day: int
    per_version: int
    today: int
    version: int
    resets_at: datetime | None


@dataclass(frozen=True)
class Quotas:
    """Ranked submissions of one user: in 24 hours, and to one version."""

    per_day: int
    per_version: int

    def standing(self, session: Session, user_id: int, version: Version) -> Standing:
        """Return how many ranked submissions a user has left, beside those that were made."""
        user = session.get_one(User, user_id)
        per_day = self.per_day if user.ranked_per_day is None else user.ranked_per_day
        per_version = self.per_version if user.ranked_per_version is None else user.ranked_per_version
        # What failed on our side, and what never arrived, counts for nothing.
        mine = (
            select(Submission.created_at)
            .join(Version)
            .where(
                Submission.user_id == user_id,
                Submission.kind == Kind.RANKED,
                Submission.counted,
                Submission.state.not_in([State.EXPIRED, State.FAILED]),
            )
            .order_by(Submission.created_at)
        )
        moment = now()
        to_version = session.scalar(select(func.count()).select_from(mine.where(Version.id == version.id).subquery()))
        today = session.scalars(
            mine.where(Version.benchmark_id == version.benchmark_id, Submission.created_at > moment - timedelta(days=1))
        ).all()
        resets_at = None
        if len(today) >= per_day:
            resets_at = today[len(today) - per_day] + timedelta(days=1) if per_day else moment + timedelta(days=1)
        return Standing(
            per_day, per_version, max(0, per_day - len(today)), max(0, per_version - (to_version or 0)), resets_at
        )

    def check(self, session: Session, user_id: int, version: Version) -> None:
        """Refuse a ranked submission if there is no room for it.

        Raises
        ------
        QuotaError
            The user has no ranked submission left.
        """
        standing = self.standing(session, user_id, version)
        if standing.version == 0:
            raise QuotaError(f"{standing.per_version} ranked submissions to one version", None, now())
        if standing.today == 0:
            limit = f"{standing.per_day} ranked submissions to one benchmark in 24 hours"
            raise QuotaError(limit, standing.resets_at, now())
