"""How many ranked submissions a user may make."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from app.db.models import Kind, State, Submission, User, Version, now
from app.errors import QuotaError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Quotas:
    """Ranked submissions of one user: in 24 hours, and to one version."""

    per_day: int
    per_version: int

    def check(self, session: Session, user_id: int, version: Version, *, besides: str | None = None) -> None:
        """Refuse a ranked submission if there is no room for it beside the others, one that is there already not counted.

        Raises
        ------
        QuotaError
            The user has no ranked submission left.
        """
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
                Submission.state.not_in([State.EXPIRED, State.FAILED]),
                Submission.id != (besides or ""),
            )
            .order_by(Submission.created_at)
        )
        moment = now()
        to_version = session.scalar(select(func.count()).select_from(mine.where(Version.id == version.id).subquery()))
        if (to_version or 0) >= per_version:
            raise QuotaError(f"{per_version} ranked submissions to one version", None, moment)
        today = session.scalars(
            mine.where(Version.benchmark_id == version.benchmark_id, Submission.created_at > moment - timedelta(days=1))
        ).all()
        if len(today) >= per_day:
            resets_at = today[len(today) - per_day] + timedelta(days=1) if per_day else moment + timedelta(days=1)
            raise QuotaError(f"{per_day} ranked submissions to one benchmark in 24 hours", resets_at, moment)
