"""Provenance of score files (repository, commit, branch, CI run), and the search for duplicates."""

from __future__ import annotations

from operator import attrgetter
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


def add_provenance(
    session: Session, submission_id: str, origin: dict[str, Any] | None, *, verified: bool = False
) -> None:
    """Store a provenance of a submission, unless the same provenance is stored already.

    Parameters
    ----------
    origin
        Values of `COLUMNS` that are known, by name of the column, without ``verified``. If None or empty, nothing is stored.
    verified
        Whether the server took `origin` from the signed identity of a CI run; otherwise the owner states `origin`.
    """
    if not origin:
        return
    known = session.scalars(select(Provenance).where(Provenance.submission_id == submission_id))
    if origin | {"verified": verified} not in [as_dict(row) for row in known]:
        session.add(Provenance(submission_id=submission_id, **origin, verified=verified))


def copy_provenance(session: Session, source: str, target: str) -> None:
    """Add all provenances of submission `source` to submission `target`, which has the same file."""
    for row in session.scalars(select(Provenance).where(Provenance.submission_id == source)).all():
        origin = {name: value for name, value in as_dict(row).items() if name != "verified"}
        add_provenance(session, target, origin, verified=row.verified)


def newest_provenance(session: Session, submission_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return the newest provenance of each submission, by submission id; submissions without provenance are left out."""
    columns = (Provenance.submission_id, *COLUMNS)
    query = select(*columns).where(Provenance.submission_id.in_(submission_ids)).order_by(Provenance.id)
    return {row.submission_id: as_dict(row) for row in session.execute(query)}


COLUMNS = (
    Provenance.repository,
    Provenance.commit,
    Provenance.branch,
    Provenance.number,
    Provenance.provider,
    Provenance.url,
    Provenance.verified,
)
"""The columns that `as_dict` reads."""


def as_dict(row: Provenance | Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """Return the fields of a provenance that are not None, by name of the column in `COLUMNS`.

    An outer join gives rows without a provenance. For such a row, the dictionary is empty.
    """
    return {name: value for name, value in zip(_NAMES, _read(row), strict=True) if value is not None}


_NAMES = tuple(column.key for column in COLUMNS)
_read = attrgetter(*_NAMES)
