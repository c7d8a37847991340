"""The baseline of a history: the submission with which the history of a method compares all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from app.db.accounts import User
from app.db.models import Evaluation, Measurement, Submission, Visibility
from app.leaderboard.entries import can_be_listed
from app.submissions.replicates import counts_as_fitted

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.db.models import Version


class Baseline(NamedTuple):
    """A baseline; only rows with the same ``uses_subsets`` are compared with it."""

    id: str
    evaluation_id: int
    uses_subsets: bool
    is_listed: bool


def find_baseline(session: Session, version: Version, owner: str, method: str, rows: Select[Any]) -> Baseline | None:
    """Return the listed public entry of a method, which everybody may see; without such an entry, the first of `rows`.

    The entry counts as fitted to the ranking subsets if the first of `rows` does.

    Parameters
    ----------
    owner
        Name of the owner.
    rows
        The query for the rows of all pages of the history, with the columns ``id``, ``evaluation_id`` and ``uses_subsets``, in
        the order in which they are preferred.

    Returns
    -------
    Baseline or None
        None if the history is empty and the board lists no entry of the method that does not count as fitted.
    """
    first = session.execute(rows.limit(1)).first()
    is_fitted = first is not None and first.uses_subsets
    query = (
        select(Submission.id, Evaluation.id)
        .join(User, User.id == Submission.user_id)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .where(
            *can_be_listed(version),
            Evaluation.rank_low.is_not(None),
            User.name == owner,
            Submission.method == method,
            Submission.visibility == Visibility.PUBLIC,
            counts_as_fitted(version).is_(is_fitted),
        )
        .order_by(Submission.pinned.desc(), Submission.created_at.desc(), Submission.id.desc())
    )
    listed = session.execute(query.limit(1)).first()
    if listed is not None:
        return Baseline(*listed, is_fitted, is_listed=True)
    return None if first is None else Baseline(first.id, first.evaluation_id, is_fitted, is_listed=False)
