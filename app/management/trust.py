"""The beginning and the end of the trust in a CI workflow, with quotas and audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.accounts import publishers
from app.accounts.audit import Action, record_action
from app.db.models import State, Submission
from app.db.uploads import Provenance
from app.submissions import multipart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.accounts.quotas import Quotas
    from app.db.accounts import Publisher
    from app.issuers import Issuer


def add_publisher(
    session: Session, user_id: int, actor: Actor, quotas: Quotas, issuers: Mapping[str, Issuer], **values: Any
) -> Publisher:
    """Register a CI workflow that may submit a method of a user, record this in the audit log, and return the new row.

    Parameters
    ----------
    values
        The arguments of `app.accounts.publishers.create` from ``method`` on.

    Raises
    ------
    ProblemError
        The errors of `Quotas.check_publishers` and of `app.accounts.publishers.create`.
    """
    quotas.check_publishers(session, user_id)
    publisher = publishers.create(session, issuers, user_id, **values)
    _record(session, actor, Action.PUBLISHER_ADDED, publisher)
    return publisher


def remove_publisher(session: Session, user_id: int, actor: Actor, publisher_id: int) -> None:
    """End the trust in a CI workflow, and record this in the audit log.

    The publisher and the tokens of its runs are deleted, and the uploads that such tokens began are cancelled.

    An upload does not name its publisher, but verified provenance shows that the token of a CI run began the upload. So the
    unfinished uploads of the user's other publishers for the same method are cancelled too.

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
    _record(session, actor, Action.PUBLISHER_REMOVED, publisher)


def _record(session: Session, actor: Actor, action: Action, publisher: Publisher) -> None:
    details = {"method": publisher.method, "repository": publisher.repository}
    record_action(session, actor, action, actor.name, publisher=publisher.id, **details)
