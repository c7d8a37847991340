"""Moderation by admins and the operator: suspensions of submissions, and bans of users. Both have a reason and can be lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.audit import Action, record_action
from app.db.accounts import Role, User
from app.db.base import now
from app.db.models import Submission
from app.leaderboard.ranking import note_change
from app.management.editing import boards_of
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor

MAX_REASON_LENGTH = 500


def suspend(session: Session, submission_id: str, reason: str, contact: str, actor: Actor) -> None:
    """Hide a submission from everybody except its owner and the admins.

    Call `Ranker.renew_all` after the commit, so that the other entries are ranked without the submission.

    Parameters
    ----------
    reason
        Why the submission is hidden. Owner and admins see the reason.
    contact
        To whom the owner can write to answer.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is no such submission. ``request.invalid``: the reason is empty, too long or not one line.
    """
    submission = find_submission(session, submission_id)
    submission.suspension = _notice(reason, contact)
    _note_boards(session, submission)
    record_action(session, actor, Action.SUBMISSION_SUSPENDED, submission_id, reason=reason)


def reinstate(session: Session, submission_id: str, actor: Actor) -> bool:
    """Lift the suspension of a submission, if any; return whether there was one.

    Call `Ranker.renew_all` after the commit, so that the submission is ranked again.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is no such submission.
    """
    submission = find_submission(session, submission_id)
    was_suspended = submission.suspension is not None
    submission.suspension = None
    _note_boards(session, submission)
    record_action(session, actor, Action.SUBMISSION_REINSTATED, submission_id)
    return was_suspended


def ban(session: Session, name: str, reason: str, contact: str, actor: Actor) -> None:
    """Ban a user: end the sessions of the user, and refuse sign-in and all tokens.

    Public submissions stay public, queued submissions wait until the ban is lifted, and scored submissions are still rescored.

    Parameters
    ----------
    reason
        Why the user is banned. The user sees the reason.
    contact
        To whom the user can write to answer.

    Raises
    ------
    ProblemError
        ``user.unknown``: there is no such user.
        ``request.conflict``: the user is an admin.
        ``request.invalid``: the reason is empty, too long or not one line.
    """
    user = find_user(session, name)
    if user.role == Role.ADMIN:
        raise ProblemError(
            "request.conflict",
            f"User {name} is an admin, and admins cannot be banned.",
            f"On the server, first run: python -m app user add {name} --role user",
        )
    user.ban = _notice(reason, contact)
    user.session_generation += 1
    record_action(session, actor, Action.USER_BANNED, name, reason=reason)


def lift_ban(session: Session, name: str, actor: Actor) -> bool:
    """Lift the ban of a user, if any, and return whether there was one; raise ``user.unknown`` if there is no such user."""
    user = find_user(session, name)
    was_banned = user.ban is not None
    user.ban = None
    record_action(session, actor, Action.USER_UNBANNED, name)
    return was_banned


def _notice(reason: str, contact: str) -> dict[str, str]:
    """Return the notice that a suspension or a ban shows to the user: the reason, the contact and the current time.

    Raises
    ------
    ProblemError
        ``request.invalid``: the reason is empty, too long or not one line.
    """
    if not reason.strip() or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"a reason: one line of 1 to {MAX_REASON_LENGTH} printable characters",
            got=repr(reason[:80]),
            hint="State the reason in one line; the user reads the reason.",
        )
    return {"reason": reason, "contact": contact, "at": now().isoformat()}


def _note_boards(session: Session, submission: Submission) -> None:
    session.flush()
    for version in boards_of(submission):
        note_change(session, version)


def find_submission(session: Session, submission_id: str) -> Submission:
    """Return the submission with this id; raise ``submission.unknown`` if there is none."""
    submission = session.get(Submission, submission_id)
    if submission is None:
        raise ProblemError(
            "submission.unknown",
            f"There is no submission {submission_id[:40]!r}.",
            "Use the 16 hexadecimal digits at the end of the address of the submission's page.",
        )
    return submission


def find_user(session: Session, name: str) -> User:
    """Return the user with this name; raise ``user.unknown`` if there is none, or if the account was deleted."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None or user.deleted_at is not None:
        raise ProblemError(
            "user.unknown",
            f"There is no user {name[:80]!r}.",
            "Use the name that the user's submissions show as the owner.",
        )
    return user
