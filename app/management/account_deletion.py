"""Deletion of an account: results on boards stay under a placeholder name, and the other data of the user are removed.

The deletion treats the submissions of the user in three ways:

- Ranked submissions that are scored, public or anonymous, and not suspended are kept with their method, but without their other
  texts, links and provenance.
- The other attempts stay without content, so that a board shows the same number of attempts beside a kept entry as before.
  These attempts become private and withdrawn, with one exception: an anonymous attempt that is rejected or withdrawn, and not
  suspended, keeps its state and stays visible. If such an attempt disappeared at the moment when the user gets a placeholder
  name, everybody could guess the owner.
- All other submissions are deleted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, delete, func, not_, null, select, update

from app.accounts import deleted_accounts
from app.accounts.audit import Action, record_action
from app.accounts.standing import check_standing
from app.db.accounts import User
from app.db.changes import note_change
from app.db.models import FINAL, Evaluation, Kind, State, Submission, Version, Visibility
from app.db.review_links import ReviewLink
from app.db.uploads import Idempotency, Provenance, Upload, UploadPart
from app.leaderboard.attempts import IS_ATTEMPT
from app.management.removal import delete_submissions
from app.management.withdrawal import withdraw
from app.scoring import rescoring
from app.submissions.files import delete_unreferenced
from app.submissions.visibility import visible_cost
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Delete, Update
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.db.sessions import Database
    from app.leaderboard.ranking import Ranker
    from app.submissions.storage import Storage

IS_KEPT = and_(
    Submission.kind == Kind.RANKED,
    Submission.state == State.SCORED,
    Submission.visibility != Visibility.PRIVATE,
    Submission.suspension.is_(null()),
)
"""SQL condition under which a submission stays with its result when the account of its owner is deleted."""

BATCH = 500
"""Number of submissions that are deleted at once, which limits the memory that a deletion takes."""

ERASED_METHOD = "deleted"
"""Method of a submission of which only the attempt remains."""

ERASED_ERROR = ("The details of this error were deleted with the account of the owner.", "Nothing is left to do.")
"""Detail and hint that replace those of the error of a submission of which only the attempt remains."""


class Extent(NamedTuple):
    """How many submissions of a user keep their result when the account is deleted, and how many do not.

    Some attempts stay without content, see the docstring of this module; ``erased`` counts these attempts too.
    """

    kept: int
    erased: int


def extent(session: Session, user_id: int) -> Extent:
    """Return how many submissions of a user would be kept, and how many erased, if the account were deleted now."""
    count = select(func.count().filter(IS_KEPT), func.count().filter(not_(IS_KEPT)))
    return Extent(*session.execute(count.where(Submission.user_id == user_id)).one())


def check_confirmation(confirm: str, name: str) -> None:
    """Raise ``request.invalid`` unless the caller confirmed a deletion with the name of the account."""
    if confirm != name:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"confirm: the name of the account, {name}",
            got=repr(confirm[:80]),
            hint=f"Nothing was deleted. To delete the account, send confirm={name}.",
        )


def delete_account(database: Database, ranker: Ranker, storage: Storage, user_id: int, actor: Actor) -> str:
    """Delete the account of a user, record this in the audit log, and return the placeholder name.

    One transaction changes the database. After the commit, the changed boards are ranked. At the end, two kinds of files are
    deleted: the parts of the user's unfinished uploads, and the score files to which no submission refers any more. If the
    process is killed before the files are deleted, recovery deletes the files later.

    Parameters
    ----------
    actor
        Who deletes the account: the user, or the operator. An actor with the user's name is recorded under the placeholder name.

    Raises
    ------
    ProblemError
        ``auth.deleted``: the account is already deleted, and the user is not banned.
        ``auth.banned``: the account is already deleted, and the user is banned.
    """
    with database.write() as session:
        user = session.get_one(User, user_id)
        if user.deleted_at is not None:
            check_standing(user)
        former_name, own = user.name, Submission.user_id == user_id
        versions = _boards_of_erased(session, own)
        uploads = _delete_uploads_and_keys(session, own)
        unreferenced = _withdraw_attempts(session, own) + _delete_others(session, own)
        _remove_texts(session, own)
        deleted_accounts.retire(session, user)
        for version in versions:  # a new board may have waited for these submissions only
            rescoring.update_board(session, version)
        actor = replace(actor, name=user.name) if actor.name == former_name else actor
        record_action(session, actor, Action.USER_DELETED, user.name)
        placeholder, version_ids = user.name, [version.id for version in versions]
    ranker.renew(version_ids)
    for upload in uploads:
        storage.delete_parts(upload)
    delete_unreferenced(database, storage, unreferenced)
    return placeholder


def _boards_of_erased(session: Session, own: ColumnElement[bool]) -> Sequence[Version]:
    """Return the versions that have an evaluation, finished or not, of a submission that does not meet `IS_KEPT`."""
    erased = select(Submission.id).where(own, not_(IS_KEPT))
    evaluated = select(Evaluation.version_id).where(Evaluation.submission_id.in_(erased))
    return session.scalars(select(Version).where(Version.id.in_(evaluated)).order_by(Version.id)).all()


def _delete_uploads_and_keys(session: Session, own: ColumnElement[bool]) -> list[str]:
    """Delete the database rows of the user's uploads, upload parts, provenances, idempotency keys and review links.

    Returns
    -------
    list of str
        Ids of the unfinished uploads. Upload parts of these uploads can still be stored as files.
    """
    unfinished = session.scalars(select(Submission.id).where(own, Submission.state == State.UPLOADING)).all()
    all_ids = select(Submission.id).where(own)
    for table in (UploadPart, Upload, Provenance, Idempotency, ReviewLink):
        _change(session, delete(table).where(table.submission_id.in_(all_ids)))
    return list(unfinished)


def _withdraw_attempts(session: Session, own: ColumnElement[bool]) -> list[str]:
    """Remove the content of the attempts that do not meet `IS_KEPT`, and make these attempts withdrawn and private.

    Anonymous attempts that are rejected or withdrawn, and not suspended, keep their state and visibility, see the docstring of
    this module. `_remove_texts` removes the title and the other texts.

    The attempts are loaded all at once, because the quotas of ranked submissions limit the number of attempts.

    Returns
    -------
    list of str
        SHA-256 of each stored file to which no submission refers any more.
    """
    released = []
    for attempt in session.scalars(select(Submission).where(own, *IS_ATTEMPT, not_(IS_KEPT))).all():
        attempt.method, attempt.size = ERASED_METHOD, 0
        if attempt.visibility == Visibility.ANONYMOUS and attempt.suspension is None:  # rejected or withdrawn
            attempt.cost = visible_cost(attempt.cost, named=False)
            attempt.error = Problem(attempt.error["code"], *ERASED_ERROR).as_dict() if attempt.error else None
            continue
        if attempt.state != State.WITHDRAWN:
            released.append(withdraw(session, attempt))
        attempt.visibility, attempt.suspension, attempt.cost = Visibility.PRIVATE, None, None
    session.flush()
    return [sha256 for sha256 in released if sha256 is not None]


def _delete_others(session: Session, own: ColumnElement[bool]) -> list[str]:
    """Delete the submissions that neither meet `IS_KEPT` nor are attempts.

    Returns
    -------
    list of str
        SHA-256 of each stored file to which no submission refers any more. The caller must delete these files after the commit.
    """
    others = select(Submission.id, Submission.state).where(own, not_(IS_KEPT), not_(and_(*IS_ATTEMPT)))
    rows = session.execute(others).all()
    for submission_id, state in rows:
        if state not in FINAL:
            note_change(session, submission_id)  # so that waiting requests end
    ids = [submission_id for submission_id, _ in rows]
    released = []
    for start in range(0, len(ids), BATCH):
        released += delete_submissions(session, ids[start : start + BATCH])
    return released


def _remove_texts(session: Session, own: ColumnElement[bool]) -> None:
    """Remove descriptions, tags and links from the submissions that remain, and replace the title by the name of the method.

    The reported cost of a kept submission loses the device, whose text could reveal the owner.
    """
    texts = {"title": Submission.method, "description": "", "tags": [], "urls": {}}
    _change(session, update(Submission).where(own).values(texts))
    for submission in session.scalars(select(Submission).where(own, IS_KEPT)):
        submission.cost = visible_cost(submission.cost, named=False)


def _change(session: Session, statement: Delete | Update) -> None:
    """Execute a statement in the database without loading the rows that it changes.

    Objects that were loaded before are read again when they are next used, because the statement can have changed their rows.
    """
    session.execute(statement.execution_options(synchronize_session=False))
    session.expire_all()
