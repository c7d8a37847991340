"""Provenance of score files (repository, commit, URL), and the search for duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.db.models import State, Submission
from app.db.uploads import Provenance

if TYPE_CHECKING:
    from sqlalchemy import Row
    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.submissions.fields import SubmissionRequest


def find_duplicate(
    session: Session, user_id: int, version: Version, described: Submission | SubmissionRequest, sha256: str
) -> Submission | None:
    """Return the earlier submission of a user that makes a file a duplicate; None if there is no such submission.

    The earlier submission is to the same version, has the file with this SHA-256 and the method and kind of `described`, and is
    queued, being scored or scored. Only the user's own submissions are searched, so that nobody can find out which files other
    users have sent.
    """
    return session.scalar(
        select(Submission).where(
            Submission.user_id == user_id,
            Submission.version_id == version.id,
            Submission.method == described.method,
            Submission.kind == described.kind,
            Submission.file_sha256 == sha256,
            Submission.state.in_([State.QUEUED, State.SCORING, State.SCORED]),
        )
    )


def add_provenance(session: Session, submission_id: str, origin: dict[str, Any] | None) -> None:
    """Store the provenance of a submission, unless the same provenance is stored already."""
    if not origin:
        return
    known = session.scalars(select(Provenance).where(Provenance.submission_id == submission_id))
    if origin not in [as_dict(row) for row in known]:
        session.add(Provenance(submission_id=submission_id, **origin))


def copy_provenance(session: Session, source: str, target: str) -> None:
    """Add the provenance of submission `source` to submission `target`, which has the same file."""
    for row in session.scalars(select(Provenance).where(Provenance.submission_id == source)).all():
        add_provenance(session, target, as_dict(row))


def newest_provenance(session: Session, submission_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the newest provenance of each submission, by submission id; submissions without provenance are left out."""
    columns = (Provenance.submission_id, Provenance.repository, Provenance.commit, Provenance.url)
    query = select(*columns).where(Provenance.submission_id.in_(submission_ids)).order_by(Provenance.id)
    return {row.submission_id: as_dict(row) for row in session.execute(query)}


def as_dict(row: Provenance | Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """Return the repository, commit and URL of a provenance, by name, without those that are None."""
    fields = {"repository": row.repository, "commit": row.commit, "url": row.url}
    return {name: value for name, value in fields.items() if value is not None}
