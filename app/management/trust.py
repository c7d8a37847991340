"""End the trust in a CI workflow: delete a publisher and the tokens of its runs, and cancel uploads that such tokens began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import publishers
from app.db.models import State, Submission
from app.db.uploads import Provenance
from app.submissions import multipart

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.accounts import Publisher


def remove_publisher(session: Session, user_id: int, publisher_id: int) -> Publisher:
    """Delete a publisher of a user and the tokens of its runs, and cancel the uploads that such tokens began.

    An upload does not name its publisher, but verified provenance shows that the token of a CI run began the upload. So the
    unfinished uploads of the user's other publishers for the same method are cancelled too.

    Returns
    -------
    Publisher
        The deleted row.

    Raises
    ------
    ProblemError
        ``publisher.unknown``: the user has no such publisher.
    """
    publisher = publishers.remove(session, user_id, publisher_id)
    begun_by_runs = select(Provenance.submission_id).where(Provenance.verified)
    unfinished = select(Submission.id).where(
        Submission.user_id == user_id,
        Submission.method == publisher.method,
        Submission.state == State.UPLOADING,
        Submission.id.in_(begun_by_runs),
    )
    for submission_id in session.scalars(unfinished).all():
        multipart.cancel(session, submission_id, "the trust in the CI workflow ended")
    return publisher
