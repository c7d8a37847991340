"""Who may see a submission, and under which name.

A public one is seen by everybody. An anonymous one too, under an alias that its owner has on this benchmark alone; what could
tell who sent it is withheld. A private one is there for its owner and for admins only: for all others it does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select

from app.accounts.users import ALIAS_PREFIX
from app.db.accounts import Role
from app.db.models import Alias, Submission, Visibility
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.users import Account

WITHHELD = "withheld"
"""Stands for the method of an anonymous submission."""


class PublicIdentity(NamedTuple):
    """What tells who sent a submission and what it is, as far as somebody may know it."""

    owner: str
    method: str
    title: str
    description: str
    tags: list[str]
    urls: dict[str, str]
    provenance: dict[str, Any] | None
    file_sha256: str | None


def owns(viewer: Account | None, submission: Submission) -> bool:
    """Return whether somebody may do to a submission what its owner may."""
    return viewer is not None and (viewer.id == submission.user_id or viewer.role is Role.ADMIN)


def knows(viewer: Account | None, submission: Submission) -> bool:
    """Return whether somebody who may see a submission may know whose it is."""
    return submission.visibility != Visibility.ANONYMOUS or owns(viewer, submission)


def find_submission(session: Session, submission_id: str, viewer: Account | None) -> Submission:
    """Return a submission that somebody may see.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is none, or none for them.
    """
    submission = session.get(Submission, submission_id)
    if submission is None or (submission.visibility == Visibility.PRIVATE and not owns(viewer, submission)):
        raise ProblemError(
            "submission.unknown",
            expected="the id of a submission",
            got=repr(submission_id[:40]),
            hint="Use the id or the Location that the upload answered with; a private one needs its owner's token.",
        )
    return submission


def known_identity(
    session: Session, submission: Submission, viewer: Account | None, origin: dict[str, Any] | None
) -> PublicIdentity:
    """Return what somebody who may see a submission may know of it; `origin` is where its file says that it comes from."""
    if not knows(viewer, submission):
        return anonymous_identity(session.get_one(Alias, (submission.version.benchmark_id, submission.user_id)).number)
    return PublicIdentity(
        submission.user.name,
        submission.method,
        submission.title,
        submission.description,
        submission.tags,
        submission.urls,
        origin,
        submission.file_sha256,
    )


def visible_cost(cost: dict[str, Any] | None, *, named: bool) -> dict[str, Any] | None:
    """Return what may be told of a reported cost: its numbers; the device, its owner's own words, only under their name."""
    return cost if named or not cost else {name: value for name, value in cost.items() if name != "device"} or None


def anonymous_identity(number: int) -> PublicIdentity:
    """Return what everybody may know of an anonymous submission: the alias of its owner on its benchmark."""
    return PublicIdentity(f"{ALIAS_PREFIX}{number}", WITHHELD, WITHHELD, "", [], {}, None, None)


def set_visibility(session: Session, submission: Submission, visibility: Visibility) -> None:
    """Change who may see a submission, and give its owner an alias if that is needed."""
    submission.visibility = visibility
    key = (submission.version.benchmark_id, submission.user_id)
    if visibility is Visibility.ANONYMOUS and session.get(Alias, key) is None:
        used = session.scalar(select(func.count()).select_from(Alias).where(Alias.benchmark_id == key[0])) or 0
        session.add(Alias(benchmark_id=key[0], user_id=key[1], number=used + 1))
    session.flush()
