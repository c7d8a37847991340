"""Daily quotas: limits on a user's practice submissions, uploads, edits, new tokens, CI tokens and new webhooks in 24 hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from app.accounts.audit import Action
from app.db.accounts import Audit, User
from app.db.base import now
from app.db.models import Kind, State, Submission
from app.errors import QuotaError
from ldsboard.counts import count

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

DAY = timedelta(days=1)

NEVER_COUNTED = (State.EXPIRED, State.FAILED)
"""States in which a submission uses no quota of submissions: the file never arrived, or the server failed."""


class Daily(StrEnum):
    """What a daily quota limits. The values are the names of the fields of `DailyQuotas`."""

    PRACTICE = "practice"
    UPLOADS = "uploads"
    EDITS = "edits"
    TOKENS = "tokens"
    MINTS = "mints"
    WEBHOOKS = "webhooks"


EDITS = (Action.SUBMISSION_EDITED, Action.PUBLISHER_ADDED, Action.REVIEW_LINK_MADE)
"""The actions that count towards the daily quota of edits."""

NOUNS = {
    Daily.PRACTICE: "practice submission",
    Daily.UPLOADS: "upload",
    Daily.EDITS: "edit",
    Daily.TOKENS: "new token",
    Daily.MINTS: "CI token",
    Daily.WEBHOOKS: "new webhook",
}

ADVICE = {
    Daily.PRACTICE: "A dry run (dry_run=true) uses no quota.",
    Daily.UPLOADS: "Interrupted, cancelled and repeated uploads count too.",
    Daily.EDITS: "One edit can change several fields; trusting a CI workflow and making a review link are edits too.",
    Daily.TOKENS: "A token can be used any number of times.",
    Daily.MINTS: "Until then, CI can use a token that you create on the page /account.",
    Daily.WEBHOOKS: "A webhook is called for every submission.",
}


class DailyUse(NamedTuple):
    """A daily quota of a user, and what is left of it.

    Attributes
    ----------
    limit
        Number allowed in 24 hours; None if there is no limit.
    left
        Number left of ``limit``; None if there is no limit.
    resets_at
        Time from which the user may again do what the quota limits, if ``left`` is 0; otherwise None.
    """

    limit: int | None
    left: int | None
    resets_at: datetime | None


@dataclass(frozen=True)
class DailyQuotas:
    """The daily quotas of every user; 0: no limit.

    Attributes
    ----------
    practice
        Number of practice submissions to all benchmarks together. Duplicates, uploads that never arrived, and submissions that
        failed on the server are not counted.
    uploads
        Number of uploads that the user starts, single and multipart, of ranked and of practice submissions. Every started upload
        counts, whether or not the file arrives.
    edits
        Number of edits of submissions, of registrations of trusted CI workflows, and of new review links.
    tokens
        Number of tokens that the user creates, including the tokens of the submission form.
    mints
        Number of tokens that the trusted CI workflows of the user get.
    webhooks
        Number of webhooks that the user registers.
    """

    practice: int = 0
    uploads: int = 0
    edits: int = 0
    tokens: int = 0
    mints: int = 0
    webhooks: int = 0

    def use(self, session: Session, user_id: int, what: Daily) -> DailyUse:
        """Return a daily quota of a user, and what is left of it."""
        limit: int = getattr(self, what)
        if not limit:
            return DailyUse(None, None, None)
        times = _times(session.get_one(User, user_id), what).subquery()
        (time,) = times.c
        recent = session.scalars(select(time).where(time > now() - DAY).order_by(time.desc()).limit(limit)).all()
        left = limit - len(recent)
        return DailyUse(limit, left, None if left else recent[-1] + DAY)

    def check(self, session: Session, user_id: int, what: Daily) -> None:
        """Raise QuotaError if nothing is left of a daily quota of a user."""
        limit, _, resets_at = self.use(session, user_id, what)
        if limit is not None and resets_at is not None:
            raise QuotaError(f"{count(limit, NOUNS[what])} in 24 hours", resets_at, now(), ADVICE[what])


def _times(user: User, what: Daily) -> Select[datetime]:
    """Return a query that selects the times of all actions of a user that count towards a daily quota.

    The query is not limited to the last 24 hours; the caller adds that limit.
    """
    sent = select(Submission.created_at).where(Submission.user_id == user.id)
    # Submissions keep no time of their edits, and a revoked token has no row. The audit log has a row for both.
    done = select(Audit.at).where(Audit.actor == user.name)
    match what:
        case Daily.PRACTICE:
            is_counted = (Submission.kind == Kind.PRACTICE, Submission.counted, Submission.state.not_in(NEVER_COUNTED))
            return sent.where(*is_counted)
        case Daily.UPLOADS:
            return sent
        case Daily.EDITS:
            return done.where(Audit.action.in_(EDITS))
        case Daily.TOKENS:
            return done.where(Audit.action == Action.TOKEN_CREATED)
        case Daily.MINTS:
            return done.where(Audit.action == Action.TOKEN_MINTED)
        case Daily.WEBHOOKS:
            return done.where(Audit.action == Action.WEBHOOK_CREATED)
