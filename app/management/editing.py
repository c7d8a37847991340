"""What an owner may do to a submission: edit what is told of it, change who sees it, pin it, and withdraw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.db.models import (
    Kind,
    State,
    Submission,
    Version,
    Visibility,
)
from app.leaderboard.ranking import update_ranks
from app.submissions import visibility
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.accounts.users import Account


def find_owned(session: Session, submission_id: str, account: Account) -> Submission:
    """Return a submission that an account may change: its own, or any one for an admin.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is none, or none for them. ``auth.owner``: it belongs to somebody else.
    """
    submission = visibility.find_submission(session, submission_id, account)
    if not visibility.owns(account, submission):
        raise ProblemError("auth.owner", f"{submission.id} belongs to another user.", "Use the token of its owner.")
    return submission


def edit(session: Session, submission: Submission, changes: dict[str, Any]) -> None:
    """Change a submission's ``title``, ``description``, ``tags``, ``urls``, ``visibility`` or ``pinned``.

    Pinning one takes the pin from any other of the same owner, benchmark, method and visibility.

    Raises
    ------
    ProblemError
        ``request.conflict``: one that cannot be listed was to be pinned.
    """
    versions = boards_of(submission)
    if changes.get("pinned") and (submission.kind != Kind.RANKED or submission.state != State.SCORED):
        raise ProblemError(
            "request.conflict",
            f"Only a scored ranked submission can be pinned; this one is {submission.kind} and {submission.state}.",
            "Pin a submission that is, or could be, on the board.",
        )
    shown_to = Visibility(changes.get("visibility", submission.visibility))
    if changes.keys() & {"visibility", "pinned"} and changes.get("pinned", submission.pinned):
        for other in session.scalars(_pinned_beside(submission, shown_to)).all():
            other.pinned = False
            versions += boards_of(other)
        session.flush()
    visibility.set_visibility(session, submission, shown_to)
    for name in changes.keys() - {"visibility"}:
        setattr(submission, name, changes[name])
    session.flush()
    if changes.keys() & {"visibility", "pinned"}:
        for version in {version.id: version for version in versions}.values():
            update_ranks(session, version)


def _pinned_beside(submission: Submission, shown_to: Visibility) -> Select[Submission]:
    """Select what else the same owner pinned for the same method and visibility, to whichever version of the benchmark."""
    return (
        select(Submission)
        .join(Version, Version.id == Submission.version_id)
        .where(
            Submission.id != submission.id,
            Submission.user_id == submission.user_id,
            Version.benchmark_id == submission.version.benchmark_id,
            Submission.method == submission.method,
            Submission.visibility == shown_to,
            Submission.pinned,
        )
    )


def boards_of(submission: Submission) -> list[Version]:
    """Return the versions that a submission was scored on, or is queued for."""
    return list({evaluation.version_id: evaluation.version for evaluation in submission.evaluations}.values())
