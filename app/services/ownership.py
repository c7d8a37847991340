"""What an owner may do to a submission: edit what is told of it, change who sees it, pin it, take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from app.db.models import (
    TRANSITIONS,
    Attribution,
    Evaluation,
    Kind,
    Measurement,
    State,
    Submission,
    Version,
    Visibility,
)
from app.db.uploads import Upload
from app.services import boards, leaderboard, uploads, visibility
from app.services.files import release_file
from app.services.submissions import move
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.services.accounts import Account


def owned(session: Session, submission_id: str, account: Account) -> Submission:
    """Return a submission that an account may change: its own, or any one for an admin.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is none, or none for them. ``auth.owner``: it belongs to somebody else.
    """
    submission = visibility.find(session, submission_id, account)
    if not visibility.owns(account, submission):
        raise ProblemError(
            "auth.owner",
            expected="a submission of your own",
            got=f"{submission.id}, which belongs to somebody else",
            hint="Use the token of its owner.",
        )
    return submission


def edit(session: Session, submission: Submission, changes: dict[str, Any]) -> None:
    """Change a submission's ``title``, ``description``, ``tags``, ``urls``, ``visibility`` or ``pinned``.

    Pinning one takes the pin from any other of the same owner, benchmark, method and visibility.

    Raises
    ------
    ProblemError
        ``request.conflict``: one that cannot be listed was to be pinned.
    """
    versions = _versions(submission)
    if changes.get("pinned") and (submission.kind != Kind.RANKED or submission.state != State.SCORED):
        raise ProblemError(
            "request.conflict",
            expected="a ranked submission that is scored, to be listed for its method",
            got=f"a {submission.kind} one that is {submission.state}",
            hint="Pin one that is on the board, or could be.",
        )
    shown_to = Visibility(changes.get("visibility", submission.visibility))
    if changes.keys() & {"visibility", "pinned"} and changes.get("pinned", submission.pinned):
        for other in session.scalars(_pinned_beside(submission, shown_to)).all():
            other.pinned = False
            versions += _versions(other)
        session.flush()
    visibility.set_visibility(session, submission, shown_to)
    for name in changes.keys() - {"visibility"}:
        setattr(submission, name, changes[name])
    session.flush()
    if changes.keys() & {"visibility", "pinned"}:
        for version in {version.id: version for version in versions}.values():
            leaderboard.rank(session, version)


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


def withdraw(session: Session, submission: Submission) -> str | None:
    """Take a submission back: its numbers and its file are gone, a tombstone stays, and it still counts as an attempt if it did.

    An upload in parts that still waits for some is given up, and costs nothing.

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
    if before is State.UPLOADING and session.get(Upload, submission.id) is not None:
        uploads.give_up(session, submission.id, "its owner gave it up")
        return None
    if State.WITHDRAWN not in TRANSITIONS[before]:
        busy = before in (State.UPLOADING, State.SCORING)
        raise ProblemError(
            "submission.busy" if busy else "submission.gone",
            expected="a submission that is queued, scored, rejected or failed",
            got=f"one that is {before}",
            hint="Try again when that is over." if busy else "There is nothing left to withdraw.",
        )
    counted = submission.counted and before is not State.FAILED  # that was our fault, and stays so
    if not move(session, submission.id, before, State.WITHDRAWN, error=None, pinned=False, counted=counted):
        raise RuntimeError(f"expected {submission.id} to stay {before} within a transaction")
    versions = _versions(submission)
    evaluations = select(Evaluation.id).where(Evaluation.submission_id == submission.id)
    session.execute(delete(Measurement).where(Measurement.evaluation_id.in_(evaluations)))
    session.execute(delete(Attribution).where(Attribution.evaluation_id.in_(evaluations)))
    session.execute(delete(Evaluation).where(Evaluation.submission_id == submission.id))
    session.expire(submission)
    for version in versions:
        boards.settle(session, version)  # one that waited for this submission waits no more
    return release_file(session, submission)


def _versions(submission: Submission) -> list[Version]:
    """Return the versions whose boards a submission is on, or may come to."""
    return list({evaluation.version_id: evaluation.version for evaluation in submission.evaluations}.values())
