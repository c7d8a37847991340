"""Add and remove publishers, the CI workflows that users trust; check the quota, and record both actions in the audit log."""

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
        The keyword arguments of `app.accounts.publishers.create`: ``method``, ``issuer`` and those that follow.

    Raises
    ------
    ProblemError
        The errors of `Quotas.check_publishers` and `app.accounts.publishers.create`.
    """
    quotas.check_publishers(session, user_id)
    publisher = publishers.create(session, issuers, user_id, **values)
    _record(session, actor, Action.PUBLISHER_ADDED, publisher)
    return publisher


def remove_publisher(session: Session, user_id: int, actor: Actor, publisher_id: int) -> None:
    """End the trust in a CI workflow, and record this in the audit log.

    The publisher and the tokens of its runs are deleted. The unfinished uploads that runs of any publisher began for the same
    user and method are cancelled. Uploads of the user's other publishers are among them: a verified provenance shows that a CI
    run began the upload, but not which publisher allowed the run to do so.

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
