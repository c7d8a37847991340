"""Retries of evaluations that failed permanently, by an admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.audit import Action, record_action
from app.db.models import Evaluation, State, Submission
from app.db.tickets import Queue, note_ticket
from app.management.moderation import find_submission
from app.management.queue_report import is_failed
from app.submissions.lifecycle import transition
from app.submissions.provenance import find_duplicate
from ldsboard.core import result
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor

DETAIL = "retried by an admin"
"""Detail of the event that records the retry of a first evaluation."""


def retry(session: Session, submission_id: str, version_id: int, actor: Actor) -> bool:
    """Queue an evaluation that failed permanently again, with no failures; return False if there is no such evaluation.

    A second call for the same evaluation therefore changes nothing. After the commit, wake the threads that score. A retried
    submission counts as an attempt again; no quota is checked, because the failure was the server's. The number of claims stays,
    because it tells claims apart.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is no such submission.
        ``request.conflict``: the owner has sent the file again meanwhile, so that the retry would make a duplicate.
    """
    submission = find_submission(session, submission_id)
    query = select(Evaluation).join(Submission).where(Submission.id == submission_id, is_failed())
    evaluation = session.scalar(query.where(Evaluation.version_id == version_id))
    if evaluation is None:
        return False
    if submission.state == State.FAILED:
        _check_not_repeated(session, submission)
        transition(session, submission_id, State.FAILED, State.QUEUED, detail=DETAIL, error=None)
        evaluation.scorer_version = result.SCORER_VERSION  # the evaluation may have failed before an upgrade
    evaluation.failures, evaluation.not_before, evaluation.claimed_at = 0, None, None
    note_ticket(session, Queue.RESCORING if submission.state == State.SCORED else Queue.SCORING)
    record_action(session, actor, Action.SUBMISSION_RETRIED, submission_id, version=evaluation.version.version)
    return True


def _check_not_repeated(session: Session, submission: Submission) -> None:
    sha256 = str(submission.file_sha256)
    repeated = find_duplicate(session, submission.user_id, submission.version, submission, sha256)
    if repeated is not None:
        raise ProblemError(
            "request.conflict",
            f"The owner has sent the file again, as the submission {repeated.id}.",
            "Nothing was changed. The failed submission needs no retry.",
        )
