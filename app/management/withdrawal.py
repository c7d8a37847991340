"""Withdrawal of a submission by its owner or an admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.accounts.audit import Action, record_action
from app.db.counterfactuals import Counterfactual
from app.db.models import TRANSITIONS, Attribution, Evaluation, Measurement, State, Submission
from app.db.review_links import ReviewLink
from app.db.uploads import Upload
from app.management.editing import boards_of, find_owned
from app.scoring import rescoring
from app.submissions import multipart
from app.submissions.files import delete_unreferenced, release_file
from app.submissions.lifecycle import transition
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.accounts.users import Account
    from app.db.sessions import Database
    from app.leaderboard.ranking import Ranker
    from app.submissions.storage import Storage


def withdraw_and_delete(
    database: Database, ranker: Ranker, storage: Storage, submission_id: str, account: Account, actor: Actor
) -> None:
    """Withdraw a submission for an account, record this in the audit log, and rank the boards that the submission leaves.

    At the end, the upload parts are deleted, and the stored file too if no other submission refers to the file.

    Raises
    ------
    ProblemError
        The errors of `app.management.editing.find_owned` and `withdraw`.
    """
    with database.write() as session:
        submission = find_owned(session, submission_id, account)
        boards = [version.id for version in boards_of(submission)]
        unreferenced = withdraw(session, submission)
        record_action(session, actor, Action.SUBMISSION_WITHDRAWN, submission_id)
    ranker.renew(boards)
    storage.delete_parts(submission_id)
    if unreferenced is not None:
        delete_unreferenced(database, storage, [unreferenced])


def withdraw(session: Session, submission: Submission) -> str | None:
    """Withdraw a submission: delete its results and review link, release its file and keep its row.

    A counted submission stays counted, except after a server error (state `State.FAILED`).

    If the submission is a multipart upload that is not completed, the upload is cancelled instead, and counts only towards the
    daily quota of uploads.

    Returns
    -------
    str or None
        SHA-256 of the stored file if no submission refers to the file any more, otherwise None.

    Raises
    ------
    ProblemError
        ``submission.busy``: the file of a single upload is arriving, or the file is being scored.
        ``submission.gone``: the submission is already withdrawn or expired.
    """
    before = State(submission.state)
    if before is State.UPLOADING and session.get(Upload, submission.id) is not None:
        multipart.cancel(session, submission.id, "cancelled by its owner or an admin")
        return None
    if State.WITHDRAWN not in TRANSITIONS[before]:
        busy = before in (State.UPLOADING, State.SCORING)
        raise ProblemError(
            "submission.busy" if busy else "submission.gone",
            f"The state of the submission is {before}.",
            "Try again when the submission is scored or rejected." if busy else "Nothing is left to withdraw.",
        )
    counted = submission.counted and before is not State.FAILED  # a server error never counts
    if not transition(session, submission.id, before, State.WITHDRAWN, error=None, pinned=False, counted=counted):
        raise RuntimeError(
            f"The state of {submission.id} is no longer {before}, although this transaction holds the write lock."
        )
    versions = boards_of(submission)
    evaluations = select(Evaluation.id).where(Evaluation.submission_id == submission.id)
    session.execute(delete(Measurement).where(Measurement.evaluation_id.in_(evaluations)))
    session.execute(delete(Attribution).where(Attribution.evaluation_id.in_(evaluations)))
    session.execute(delete(Evaluation).where(Evaluation.submission_id == submission.id))
    session.execute(delete(Counterfactual).where(Counterfactual.submission_id == submission.id))
    session.execute(delete(ReviewLink).where(ReviewLink.submission_id == submission.id))
    session.expire(submission)
    for version in versions:  # a new board may have waited for this submission only
        rescoring.update_board(session, version)
    return release_file(session, submission)
