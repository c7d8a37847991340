"""Quotas of a user: ranked submissions, stored bytes, uploads under way, tokens and trusted CI workflows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, null, select

from app.accounts.daily_quotas import DAY, NEVER_COUNTED, Daily, DailyQuotas
from app.db.accounts import Publisher, Token, User
from app.db.base import now
from app.db.models import File, Kind, State, Submission, Version
from app.errors import QuotaError
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session


PRACTICE = "Practice submissions (kind=practice) have a quota of their own."
"""Advice to a user who has used up a quota of ranked submissions."""


class RemainingQuota(NamedTuple):
    """A user's quotas of ranked submissions, and how many ranked submissions are left.

    Attributes
    ----------
    per_day, per_version
        Number of ranked submissions allowed to one benchmark in 24 hours, and number allowed to one version.
    left_today, left_for_version
        Number of ranked submissions left of ``per_day``, and number left of ``per_version``.
    resets_at
        Time at which the quota of 24 hours next allows a ranked submission if ``left_today`` is 0; otherwise None.
    shared
        Whether one of these quotas is shared by all users without a verified identity.
    """

    per_day: int
    per_version: int
    left_today: int
    left_for_version: int
    resets_at: datetime | None
    shared: bool = False


class UnverifiedQuota(NamedTuple):
    """Quotas that all users without a verified identity share, because one person can have many such accounts.

    ``per_day`` is the number of their ranked submissions together to one benchmark in 24 hours. ``per_version`` is the number of
    their ranked submissions together to one version. If ``needs_approval`` is True, such users cannot make ranked submissions.
    """

    per_day: int = 20
    per_version: int = 60
    needs_approval: bool = False


class Usage(NamedTuple):
    """Number of bytes of a user's stored files and announced uploads, and number of the user's uploads under way."""

    bytes: int
    uploads: int


def usage(session: Session, user_id: int) -> Usage:
    """Return how many bytes a user has stored or announced, and how many uploads of the user are under way.

    A file that several of the user's submissions share counts once.
    """
    own_files = select(Submission.file_sha256).where(Submission.user_id == user_id, Submission.file_sha256.is_not(None))
    stored = session.scalar(select(func.sum(File.size)).where(File.sha256.in_(own_files))) or 0
    # Announced duplicates are not counted; on arrival they match a stored file or are rejected.
    announced_bytes = func.coalesce(func.sum(Submission.size).filter(Submission.counted), 0)
    under_way = select(func.count(), announced_bytes).where(
        Submission.user_id == user_id, Submission.state == State.UPLOADING
    )
    uploads, announced = session.execute(under_way).one()
    return Usage(int(stored + announced), uploads)  # sums are Decimals on PostgreSQL


def count_tokens(session: Session, user_id: int) -> int:
    """Return the number of tokens of a user, including expired tokens, without the tokens of CI runs."""
    return session.scalar(select(func.count()).where(Token.user_id == user_id, Token.claims.is_(null()))) or 0


def count_publishers(session: Session, user_id: int) -> int:
    """Return the number of CI workflows that a user trusts."""
    return session.scalar(select(func.count()).where(Publisher.user_id == user_id)) or 0


@dataclass(frozen=True)
class Quotas:
    """The quotas of every user. The operator can give a user other quotas of ranked submissions.

    Attributes
    ----------
    per_day
        Number of ranked submissions to one benchmark in any 24 hours; 0 allows none.
    per_version
        Number of ranked submissions to one version, whenever they were sent; 0 allows none.
    bytes
        Total size of a user's stored and announced score files in bytes; 0: no limit.
    uploads
        Number of uploads under way at the same time; 0: no limit.
    tokens
        Number of tokens of a user, expired tokens included and tokens of CI runs left out; 0: no limit.
    daily
        Quotas of practice submissions, uploads, edits, new tokens, tokens of CI runs and new webhooks in any 24 hours.
    publishers
        Number of CI workflows that a user trusts; 0: no limit.
    unverified
        Further quotas of users without a verified identity.
    """

    per_day: int
    per_version: int
    bytes: int = 0
    uploads: int = 0
    tokens: int = 0
    daily: DailyQuotas = field(default_factory=DailyQuotas)
    publishers: int = 0
    unverified: UnverifiedQuota = field(default_factory=UnverifiedQuota)

    def remaining(self, session: Session, user_id: int, version: Version) -> RemainingQuota:
        """Return a user's quotas of ranked submissions, and how many are left for a version and its benchmark.

        For a user without a verified identity, each quota is the user's own or the shared quota, whichever leaves less.
        """
        user = session.get_one(User, user_id)
        per_day = self.per_day if user.ranked_per_day is None else user.ranked_per_day
        per_version = self.per_version if user.ranked_per_version is None else user.ranked_per_version
        own = _remaining(session, version, Submission.user_id == user_id, per_day, per_version)
        if user.verified:
            return own
        unverified = Submission.user_id.in_(select(User.id).where(~User.verified))
        pool = _remaining(session, version, unverified, self.unverified.per_day, self.unverified.per_version)
        today = min(own, pool, key=lambda quota: quota.left_today)
        total = min(own, pool, key=lambda quota: quota.left_for_version)
        return today._replace(
            per_version=total.per_version, left_for_version=total.left_for_version, shared=pool in (today, total)
        )

    def check_ranked(self, session: Session, user_id: int, version: Version) -> None:
        """Raise an error if a user may not make another ranked submission to a version now.

        Raises
        ------
        QuotaError
            Nothing is left of the quotas for the version, or of the 24-hour quotas for the benchmark.
        ProblemError
            ``quota.approval``: users without a verified identity need an approval.
        """
        if self.unverified.needs_approval and not session.get_one(User, user_id).verified:
            raise ProblemError(
                "quota.approval",
                "Ranked submissions on this server need an account with a verified identity.",
                f"Ask the operator to approve your account. {PRACTICE}",
            )
        quota = self.remaining(session, user_id, version)
        whose = " of all accounts without a verified identity together" if quota.shared else ""
        advice = f"Ask the operator to approve your account. {PRACTICE}" if quota.shared else PRACTICE
        if quota.left_for_version == 0:
            limit = f"{count(quota.per_version, 'ranked submission')}{whose} to one version"
            raise QuotaError(limit, None, now(), advice)
        if quota.left_today == 0:
            limit = f"{count(quota.per_day, 'ranked submission')}{whose} to one benchmark in 24 hours"
            raise QuotaError(limit, quota.resets_at, now(), advice)

    def check_bytes(self, session: Session, user_id: int, size: int) -> None:
        """Raise ``quota.bytes`` if `size` more bytes would exceed the user's quota of stored bytes."""
        used = usage(session, user_id).bytes
        if self.bytes and used + size > self.bytes:
            raise ProblemError(
                "quota.bytes",
                f"Your score files may have at most {self.bytes} bytes in total; {used} bytes are stored or announced, "
                f"and this file has {size} bytes.",
                "Withdraw submissions that you no longer need, or cancel uploads; their bytes are free at once.",
            )

    def check_uploads(self, session: Session, user_id: int) -> None:
        """Raise ``quota.uploads`` if the user has too many uploads under way to start another."""
        uploads = usage(session, user_id).uploads
        if self.uploads and uploads >= self.uploads:
            raise ProblemError(
                "quota.uploads",
                f"{uploads} of your uploads are under way, and {self.uploads} are allowed at a time.",
                "Complete or cancel a multipart upload (DELETE /api/v1/submissions/ID), or wait until another upload ends.",
            )

    def check_tokens(self, session: Session, user_id: int) -> None:
        """Raise an error if a quota does not let the user create another token now.

        Raises
        ------
        QuotaError
            Nothing is left of the daily quota of new tokens.
        ProblemError
            ``quota.tokens``: the user has as many tokens as the quota allows, expired tokens included.
        """
        self.daily.check(session, user_id, Daily.TOKENS)
        tokens = count_tokens(session, user_id)
        if self.tokens and tokens >= self.tokens:
            raise ProblemError(
                "quota.tokens",
                f"The quota is {count(self.tokens, 'token')}, and you have {tokens}, including expired tokens.",
                "Revoke a token that you no longer need, on the page /account or with DELETE /api/v1/tokens/ID.",
            )

    def check_publishers(self, session: Session, user_id: int) -> None:
        """Raise an error if a quota does not let the user trust another CI workflow now.

        Raises
        ------
        QuotaError
            Nothing is left of the daily quota of edits, which the registration of a workflow uses too.
        ProblemError
            ``quota.publishers``: the user trusts as many workflows as the quota allows.
        """
        self.daily.check(session, user_id, Daily.EDITS)
        publishers = count_publishers(session, user_id)
        if self.publishers and publishers >= self.publishers:
            raise ProblemError(
                "quota.publishers",
                f"The quota is {count(self.publishers, 'trusted workflow')}, and you have {publishers}.",
                "Remove a workflow that you no longer need, on the page /account or with DELETE /api/v1/publishers/ID.",
            )


def _remaining(
    session: Session, version: Version, by: ColumnElement[bool], per_day: int, per_version: int
) -> RemainingQuota:
    """Return the given quotas, and how many ranked submissions are left after the attempts that the condition `by` selects."""
    is_attempt = (
        by,
        Submission.kind == Kind.RANKED,
        Submission.counted,
        Submission.state.not_in(NEVER_COUNTED),
    )
    to_version = select(func.count()).where(*is_attempt, Submission.version_id == version.id)
    left_for_version = max(0, per_version - (session.scalar(to_version) or 0))
    moment = now()
    to_benchmark = select(Submission.created_at).join(Version).where(Version.benchmark_id == version.benchmark_id)
    recent = to_benchmark.where(*is_attempt, Submission.created_at > moment - DAY).order_by(Submission.created_at)
    today = session.scalars(recent).all()
    resets_at = None
    if len(today) >= per_day:
        resets_at = (today[-per_day] if per_day else moment) + DAY
    return RemainingQuota(per_day, per_version, max(0, per_day - len(today)), left_for_version, resets_at)
