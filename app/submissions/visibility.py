"""Access control: who may see a submission, and under which name.

A restricted submission is private, or an admin has suspended it. Only the owner and the admins may see a restricted submission.
All other callers get the error for a submission that does not exist. A review link also shows its private submission, see
`app.management.review_links`.

Everybody may see all other submissions, which are public or anonymous. An anonymous submission is shown under the alias that its
owner has on the benchmark, and all fields that could reveal the owner are withheld.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from app.accounts.users import ALIAS_PREFIX
from app.db.accounts import Role
from app.db.models import Alias, Submission, Version, Visibility
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session
    from sqlalchemy.orm.interfaces import ORMOption

    from app.accounts.users import Account

WITHHELD = "withheld"
"""Text that is shown instead of the method and the title of an anonymous submission."""


class PublicIdentity(NamedTuple):
    """The fields of a submission that can identify the owner, with the values that a viewer may see."""

    owner: str
    method: str
    title: str
    description: str
    tags: list[str]
    urls: dict[str, str]
    provenance: dict[str, Any] | None
    file_sha256: str | None


def owns(viewer: Account | None, submission: Submission) -> bool:
    """Return whether a viewer has the owner's rights on a submission.

    The owner and the admins have these rights, except with a token for another method. An admin with a token for one method has
    the rights of a user.
    """
    if viewer is None or not viewer.allows_method(submission.method):
        return False
    return viewer.id == submission.user_id or viewer.role is Role.ADMIN


def is_restricted(submission: Submission) -> bool:
    """Return whether only the owner and admins may see a submission: it is private, or an admin has suspended it."""
    return submission.visibility == Visibility.PRIVATE or submission.suspension is not None


def may_know_owner(viewer: Account | None, submission: Submission) -> bool:
    """Return whether a viewer who may see a submission may also see who owns the submission."""
    return submission.visibility != Visibility.ANONYMOUS or owns(viewer, submission)


def find_submission(
    session: Session, submission_id: str, viewer: Account | None, options: Sequence[ORMOption] = ()
) -> Submission:
    """Return the submission with this id, if the viewer may see it.

    Parameters
    ----------
    options
        SQLAlchemy options that load related rows together with the submission, such as `FOR_VIEW`.

    Raises
    ------
    ProblemError
        ``submission.unknown``: there is no such submission, or the viewer may not see it.
        ``auth.method``: the viewer owns the submission, which is restricted, but the viewer's token is for another method.
    """
    submission = session.get(Submission, submission_id, options=options)
    if submission is not None and viewer is not None and is_restricted(submission) and viewer.id == submission.user_id:
        viewer.require_method(submission.method)
    if submission is None or (is_restricted(submission) and not owns(viewer, submission)):
        raise ProblemError(
            "submission.unknown",
            f"No submission {submission_id[:40]!r} is visible to you.",
            "Use the id or the Location from the response to the upload; a private submission needs a token of the owner.",
        )
    return submission


def find_submissions(session: Session, submission_ids: Sequence[str], viewer: Account | None) -> list[Submission]:
    """Return the submissions with these ids, in this order, with few queries.

    If the viewer may not see one of them, this function raises the error of `find_submission`.
    """
    query = select(Submission).where(Submission.id.in_(submission_ids)).options(*FOR_VIEW)
    _loaded = session.scalars(query).all()  # held, because the session keeps only weak references
    return [find_submission(session, submission_id, viewer) for submission_id in submission_ids]


FOR_VIEW = (joinedload(Submission.user), joinedload(Submission.version).joinedload(Version.benchmark))
"""SQLAlchemy options that load the related rows that every response model of a submission needs."""


def visible_identity(
    session: Session, submission: Submission, viewer: Account | None, origin: dict[str, Any] | None
) -> PublicIdentity:
    """Return the identifying fields of a submission as a viewer may see them; `origin` is the provenance of the file."""
    if not may_know_owner(viewer, submission):
        return anonymous_identity(session.get_one(Alias, (submission.version.benchmark_id, submission.user_id)).number)
    texts = (submission.title, submission.description, submission.tags, submission.urls)
    return PublicIdentity(submission.user.name, submission.method, *texts, origin, submission.file_sha256)


def visible_cost(cost: dict[str, Any] | None, *, named: bool) -> dict[str, Any] | None:
    """Return the fields of a reported cost that may be shown; None if there are no such fields.

    If `named` is false, the owner must stay unknown. The device is left out, because its text can reveal the owner.
    """
    return cost if named or not cost else {name: value for name, value in cost.items() if name != "device"} or None


def anonymous_identity(number: int) -> PublicIdentity:
    """Return the identifying fields that everybody may see of an anonymous submission; `number` is the owner's alias number."""
    return PublicIdentity(f"{ALIAS_PREFIX}{number}", WITHHELD, WITHHELD, "", [], {}, None, None)


def set_visibility(session: Session, submission: Submission, visibility: Visibility) -> None:
    """Set the visibility of a submission. The owner's first anonymous submission to a benchmark creates the owner's alias."""
    submission.visibility = visibility
    key = (submission.version.benchmark_id, submission.user_id)
    if visibility is Visibility.ANONYMOUS and session.get(Alias, key) is None:
        used = session.scalar(select(func.count()).select_from(Alias).where(Alias.benchmark_id == key[0])) or 0
        session.add(Alias(benchmark_id=key[0], user_id=key[1], number=used + 1))
    session.flush()
