"""What an owner may do to a submission: edit what is told of it, change who sees it, pin it, take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from app.db.models import TRANSITIONS, Evaluation, Measurement, State, Submission, Visibility
from app.services import boards, leaderboard
from app.services.files import release_file
from app.services.submissions import move
from app.services.visibility import set_visibility
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Version


def edit(session: Session, submission: Submission, changes: dict[str, Any]) -> None:
    """Change a submission's ``title``, ``description``, ``tags``, ``urls``, ``visibility`` or ``pinned``.

    Pinning one takes the pin from any other of the same owner, version and method.
    """
    if changes.get("pinned"):
        same = (
            Submission.user_id == submission.user_id,
            Submission.version_id == submission.version_id,
            Submission.method == submission.method,
        )
        session.execute(update(Submission).where(*same).values(pinned=False))
    if "visibility" in changes:
        set_visibility(session, submission, Visibility(changes["visibility"]))
    for name in changes.keys() - {"visibility"}:
        setattr(submission, name, changes[name])
    session.flush()
    if changes.keys() & {"visibility", "pinned"}:
        for version in _versions(submission):
            leaderboard.rank(session, version)


def withdraw(session: Session, submission: Submission) -> str | None:
    """Take a submission back: its numbers and its file are gone, a tombstone stays, and it still counts as an attempt.

    Returns
    -------
    str or None
        The sha256 of a stored file that nothing refers to any more.

    Raises
    ------
    ProblemError
        ``submission.busy``: it is being received or scored; ``submission.gone``: it is withdrawn or expired already.
    """
    before = State(submission.state)
    if State.WITHDRAWN not in TRANSITIONS[before]:
        busy = before in (State.UPLOADING, State.SCORING)
        raise ProblemError(
            "submission.busy" if busy else "submission.gone",
            expected="a submission that is queued, scored, rejected or failed",
            got=f"one that is {before}",
            hint="Try again when that is over." if busy else "There is nothing left to withdraw.",
        )
    if not move(session, submission.id, before, State.WITHDRAWN, error=None, pinned=False):
        raise RuntimeError(f"expected {submission.id} to stay {before} within a transaction")
    versions = _versions(submission)
    evaluations = select(Evaluation.id).where(Evaluation.submission_id == submission.id)
    session.execute(delete(Measurement).where(Measurement.evaluation_id.in_(evaluations)))
    session.execute(delete(Evaluation).where(Evaluation.submission_id == submission.id))
    session.expire(submission)
    for version in versions:
        boards.settle(session, version)  # one that waited for this submission waits no more
    return release_file(session, submission)


def _versions(submission: Submission) -> list[Version]:
    """Return the versions whose boards a submission is on, or may come to."""
    return list({evaluation.version_id: evaluation.version for evaluation in submission.evaluations}.values())
