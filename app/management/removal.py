"""Removal of submissions: delete their rows and all rows that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.db.models import Attribution, Evaluation, Event, Measurement, Submission
from app.db.review_links import ReviewLink
from app.db.uploads import Idempotency, Provenance, Upload, UploadPart
from app.db.webhooks import WebhookCall
from app.submissions.files import release_file

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from app.db.base import Base


def delete_submissions(session: Session, submission_ids: Collection[str]) -> list[str]:
    """Delete the rows of submissions and all rows that belong to them; the caller deletes the files after the commit.

    A later upload that was completed as a duplicate of a deleted submission loses the reference to the deleted submission, and
    is shown as expired.

    Returns
    -------
    list of str
        SHA-256 of each stored file to which no submission refers any more; see `app.submissions.files.delete_unreferenced`.
    """
    submissions = session.scalars(select(Submission).where(Submission.id.in_(submission_ids))).all()
    released = [release_file(session, submission) for submission in submissions]
    repeated = update(Upload).where(Upload.stands_for.in_(submission_ids)).values(stands_for=None)
    session.execute(repeated.execution_options(synchronize_session=False))
    evaluations = select(Evaluation.id).where(Evaluation.submission_id.in_(submission_ids))
    for scored in (Measurement, Attribution):
        _delete(session, scored, scored.evaluation_id.in_(evaluations))
    for table in (Evaluation, Event, Idempotency, Provenance, ReviewLink, UploadPart, Upload, WebhookCall):
        _delete(session, table, table.submission_id.in_(submission_ids))
    _delete(session, Submission, Submission.id.in_(submission_ids))
    session.expire_all()
    return [sha256 for sha256 in released if sha256 is not None]


def _delete(session: Session, table: type[Base], condition: ColumnElement[bool]) -> None:
    session.execute(delete(table).where(condition).execution_options(synchronize_session=False))
