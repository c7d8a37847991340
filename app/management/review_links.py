"""Review links: secret read-only links that show the result of a submission without its owner, for double-blind review.

A link is shown once, after its creation; the database keeps only the SHA-256 of the secret. A submission has at most one link:
a new link ends the earlier one. Withdrawing the submission, and deleting the account of its owner, end the link too.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from app.accounts.audit import Action, record_action
from app.accounts.daily_quotas import Daily
from app.accounts.tokens import digest
from app.db.base import now
from app.db.models import State, Submission, Version
from app.db.review_links import ReviewLink
from app.management.editing import find_owned
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.accounts.daily_quotas import DailyQuotas
    from app.accounts.users import Account

PREFIX = "ldsr_"
"""First characters of the secret in a review link."""

PATH = "/review"
"""Path of the page that a review link opens.

The secret is in the query, not in the path, because logs and error pages name the path of a request.
"""


class NewLink(NamedTuple):
    """A new review link: the secret, which cannot be recovered later, and the time of its creation."""

    secret: str
    created_at: datetime

    def url(self, public_url: str) -> str:
        """Return the address to give to reviewers; `public_url` is the address of this server."""
        return f"{public_url}{PATH}?link={self.secret}"


def make(session: Session, submission_id: str, account: Account, actor: Actor, quotas: DailyQuotas) -> NewLink:
    """Make a review link of a submission, and end the earlier link of the submission, if any; record this in the audit log.

    Raises
    ------
    ProblemError
        ``submission.not_scored``: the submission has no result.
        ``quota.exceeded``: the account has used up its daily quota of edits. Also the errors of `find_owned`.
    """
    submission = find_owned(session, submission_id, account)
    if submission.state != State.SCORED:
        raise ProblemError(
            "submission.not_scored",
            f"A review link shows a result, and the state of submission {submission.id} is {submission.state}.",
            "Make the link when the state of the submission is 'scored'.",
        )
    quotas.check(session, account.id, Daily.EDITS)
    link = NewLink(PREFIX + secrets.token_urlsafe(32), now())
    row = session.get(ReviewLink, submission_id) or ReviewLink(submission_id=submission_id)
    row.digest, row.created_at = digest(link.secret), link.created_at
    session.add(row)
    record_action(session, actor, Action.REVIEW_LINK_MADE, submission_id)
    session.flush()
    return link


def withdraw(session: Session, submission_id: str, account: Account, actor: Actor) -> bool:
    """Withdraw the review link of a submission, and record this in the audit log; return False if there was no link.

    Raises
    ------
    ProblemError
        The errors of `find_owned`.
    """
    find_owned(session, submission_id, account)
    row = session.get(ReviewLink, submission_id)
    if row is None:
        return False
    session.delete(row)
    record_action(session, actor, Action.REVIEW_LINK_WITHDRAWN, submission_id)
    session.flush()
    return True


def made_at(session: Session, submission_id: str) -> datetime | None:
    """Return when the valid review link of a submission was made; None if the submission has no review link."""
    row = session.get(ReviewLink, submission_id)
    return None if row is None else row.created_at


def find_reviewed(session: Session, secret: str) -> Submission:
    """Return the submission that a review link shows, whatever the visibility of the submission.

    Raises
    ------
    ProblemError
        ``request.not_found``: no valid link has this secret, the submission has no result, or an admin has suspended it. The
        error is the same in all cases, so that the error reveals nothing about submissions and earlier links.
    """
    query = select(Submission).join(ReviewLink).where(ReviewLink.digest == digest(secret))
    submission = session.scalar(query.options(joinedload(Submission.version).joinedload(Version.benchmark)))
    if submission is None or submission.suspension is not None or submission.state != State.SCORED:
        raise ProblemError(
            "request.not_found",
            "This review link is not valid.",
            "Check that the link is complete. If the link is complete, its owner has withdrawn it.",
        )
    return submission
