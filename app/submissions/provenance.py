"""Where files say that they come from, and the same file sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import select

from app.db.models import State, Submission
from app.db.uploads import Provenance

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Version


class Sent(Protocol):
    """What tells one submission of a user to a version from another: its method, and whether it ranks."""

    @property
    def method(self) -> str:
        """Slug of the method."""

    @property
    def kind(self) -> str:
        """Ranked or practice."""


def find_duplicate(session: Session, user_id: int, version: Version, sent: Sent, sha256: str) -> Submission | None:
    """Return a user's own live submission of the same file, method and kind to the same version, if there is one.

    Nobody learns here what others have sent. What was withdrawn, rejected, failed or never arrived does not count.
    """
    return session.scalar(
        select(Submission).where(
            Submission.user_id == user_id,
            Submission.version_id == version.id,
            Submission.method == sent.method,
            Submission.kind == sent.kind,
            Submission.file_sha256 == sha256,
            Submission.state.in_([State.QUEUED, State.SCORING, State.SCORED]),
        )
    )


def add_provenance(session: Session, submission_id: str, origin: dict[str, Any] | None) -> None:
    """Add where a file comes from, unless that is known already."""
    if not origin:
        return
    known = session.scalars(select(Provenance).where(Provenance.submission_id == submission_id))
    if origin not in [shown(row) for row in known]:
        session.add(Provenance(submission_id=submission_id, **origin))


def copy_provenance(session: Session, before: str, after: str) -> None:
    """Let a submission come from where another of the same file came from."""
    for row in session.scalars(select(Provenance).where(Provenance.submission_id == before)).all():
        add_provenance(session, after, shown(row))


def newest_provenance(session: Session, submission_ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return where each submission last came from; those that did not say are left out."""
    rows = session.scalars(
        select(Provenance).where(Provenance.submission_id.in_(submission_ids)).order_by(Provenance.id)
    )
    return {row.submission_id: shown(row) for row in rows}


def shown(row: Provenance) -> dict[str, Any]:
    """Return a row as it was given."""
    given = {"repository": row.repository, "commit": row.commit, "url": row.url}
    return {name: value for name, value in given.items() if value is not None}
