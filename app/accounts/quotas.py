"""How many ranked submissions a user may make, and how many bytes and uploads they may have on the server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select

from app.db.accounts import User
from app.db.base import now
from app.db.models import File, Kind, State, Submission, Version
from app.errors import QuotaError
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class RemainingQuota(NamedTuple):
    """What a user may submit, and how much of that is left: in 24 hours, and to one version.

    ``resets_at`` is when the next is possible, where none is left in 24 hours.
    """

    per_day: int
    per_version: int
    today: int
    version: int
    resets_at: datetime | None


class Usage(NamedTuple):
    """What a user has on the server: bytes of files, those announced by uploads included, and uploads that are under way."""

    bytes: int
    uploads: int


def usage(session: Session, user_id: int) -> Usage:
    """Return what a user has on the server; a file that several of their submissions refer to is there once."""
    mine = select(Submission.file_sha256).where(Submission.user_id == user_id, Submission.file_sha256.is_not(None))
    kept = session.scalar(select(func.sum(File.size)).where(File.sha256.in_(mine))) or 0
    # What is announced to be there already is not counted: it is that, or is refused when it has come.
    announced_bytes = func.coalesce(func.sum(Submission.size).filter(Submission.counted), 0)
    under_way = select(func.count(), announced_bytes).where(
        Submission.user_id == user_id, Submission.state == State.UPLOADING
    )
    uploads, announced = session.execute(under_way).one()
    return Usage(kept + announced, uploads)


@dataclass(frozen=True)
class Quotas:
    """What one user may have: ranked submissions in 24 hours, and to one version; bytes, and uploads under way (0: no limit)."""

    per_day: int
    per_version: int
    bytes: int = 0
    uploads: int = 0

    def standing(self, session: Session, user_id: int, version: Version) -> RemainingQuota:
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
        return RemainingQuota(
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

    def check_bytes(self, session: Session, user_id: int, size: int) -> None:
        """Raise ``quota.bytes`` unless a user may have so many bytes more on the server."""
        used = usage(session, user_id).bytes
        if self.bytes and used + size > self.bytes:
            raise ProblemError(
                "quota.bytes",
                expected=f"at most {self.bytes} bytes in all the score files that you keep here",
                got=f"{size} more beside the {used} that are there or announced",
                hint="Withdraw submissions that you no longer need, or give up uploads; their bytes are free at once.",
            )

    def check_uploads(self, session: Session, user_id: int) -> None:
        """Raise ``quota.uploads`` unless a user may begin one more upload."""
        uploads = usage(session, user_id).uploads
        if self.uploads and uploads >= self.uploads:
            raise ProblemError(
                "quota.uploads",
                expected=f"at most {self.uploads} uploads under way at the same time",
                got=f"one more beside {uploads}",
                hint="Complete those in parts or give them up (DELETE /api/v1/submissions/ID), or wait until others are done.",
            )
