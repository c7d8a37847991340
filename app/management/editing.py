"""Edits of a submission by its owner or an admin: metadata, visibility and pinning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.accounts.audit import Action, record_action
from app.accounts.daily_quotas import Daily
from app.accounts.standing import check_standing
from app.benchmarks.catalog import has_hidden_subsets
from app.db.accounts import Role, User
from app.db.models import Kind, State, Submission, Version, Visibility
from app.leaderboard.ranking import note_change
from app.submissions import visibility
from app.submissions.lifecycle import check_declaration
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.audit import Actor
    from app.accounts.daily_quotas import DailyQuotas
    from app.accounts.users import Account
    from app.db.sessions import Database
    from app.leaderboard.ranking import Ranker


def find_owned(session: Session, submission_id: str, account: Account) -> Submission:
    """Return the submission with this id, if the account may change the submission, as its owner or as an admin.

    The scopes of the account are not checked.

    Raises
    ------
    ProblemError
        ``auth.banned``: an admin has banned the user.
        ``auth.deleted``: the account was deleted.
        ``submission.unknown``: no such submission is visible to the account.
        ``auth.owner``: the submission belongs to another user, and the account is no admin; or the token of the account is for
        another method.
        ``auth.method``: the account owns the submission, which is restricted, but the token is for another method.
    """
    check_standing(session.get_one(User, account.id))  # may have changed since the authentication
    submission = visibility.find_submission(session, submission_id, account)
    if not visibility.owns(account, submission):
        raise ProblemError(
            "auth.owner", f"Submission {submission.id} belongs to another user.", "Use a token of the owner."
        )
    return submission


def edit_and_rank(
    database: Database,
    ranker: Ranker,
    quotas: DailyQuotas,
    submission_id: str,
    account: Account,
    actor: Actor,
    changes: dict[str, Any],
) -> None:
    """Check that an account may make these changes, make them, record them in the audit log, and rank the changed boards.

    Parameters
    ----------
    changes
        New values by name of the field, see `edit`.

    Raises
    ------
    ProblemError
        ``quota.exceeded``: the account has used up its daily quota of edits.
        ``benchmark.retired``: the benchmark is retired, and the edit would add or replace an entry of its board.
        ``request.invalid``: ``uses_subsets`` becomes true, and the ranking subsets of all its boards are hidden.
        ``request.conflict``: the edit takes a declaration (``uses_subsets``) back, and the account is no admin.
        Also the errors of `find_owned` and `edit`.
    """
    with database.write() as session:
        submission = find_owned(session, submission_id, account)
        quotas.check(session, account.id, Daily.EDITS)
        _check_retired(session, submission, changes)
        _check_declaration(submission, changes, account)
        edit(session, submission, changes)
        record_action(session, actor, Action.SUBMISSION_EDITED, submission.id, fields=sorted(changes))
        boards = [version.id for version in boards_of(submission)]
    ranker.renew(boards)


def _check_retired(session: Session, submission: Submission, changes: dict[str, Any]) -> None:
    """Check that an edit neither adds nor replaces an entry of the board of a retired benchmark.

    The owner knows the results on the reserve, and could otherwise choose the entry by these results. Making a submission private
    stays possible. A submission that is the only candidate for its entry can change between public and anonymous.
    """
    benchmark = submission.version.benchmark
    if benchmark.retired_at is None or not is_closed(submission):
        return
    before, after = submission.visibility, changes.get("visibility", submission.visibility)
    shows = after not in (before, Visibility.PRIVATE)
    declares = changes.get("uses_subsets", submission.uses_subsets) != submission.uses_subsets
    pins = changes.get("pinned", submission.pinned) != submission.pinned or (submission.pinned and declares)
    if pins or (shows and (before == Visibility.PRIVATE or _has_others(session, submission))):
        raise ProblemError(
            "benchmark.retired",
            f"The benchmark {benchmark.name} was retired on {benchmark.retired_at:%Y-%m-%d}; its board takes no more entries.",
            "Results on the reserve are open, so that nobody may choose an entry by them: pins stay, and private submissions stay"
            " private. You can still hide (private) or withdraw the submission, and edit its texts and links.",
        )


def is_closed(submission: Submission) -> bool:
    """Return whether a submission is ranked and its benchmark is retired, so that no edit may add or replace an entry."""
    return submission.kind == Kind.RANKED and submission.version.benchmark.retired_at is not None


def _has_others(session: Session, submission: Submission) -> bool:
    """Return whether the owner has other ranked submissions of the method to the benchmark that are listed or can be listed."""
    query = select(Submission.id).join(Submission.version)
    others = query.where(
        Submission.id != submission.id,
        Submission.user_id == submission.user_id,
        Version.benchmark_id == submission.version.benchmark_id,
        Submission.method == submission.method,
        Submission.kind == Kind.RANKED,
        Submission.visibility != Visibility.PRIVATE,
        Submission.state.not_in([State.REJECTED, State.EXPIRED, State.WITHDRAWN]),
    )
    return session.scalar(others.limit(1)) is not None


def _check_declaration(submission: Submission, changes: dict[str, Any], account: Account) -> None:
    """Check a change of ``uses_subsets``: owners can declare at any time, but only admins can take a declaration back.

    An owner knows the result, and could otherwise take the declaration back to get a rank. A submission to a protected version
    can be declared once it is scored again for a practice version.
    """
    uses_subsets = changes.get("uses_subsets", submission.uses_subsets)
    if all(has_hidden_subsets(version.manifest) for version in boards_of(submission)) and not submission.uses_subsets:
        check_declaration(submission.version, uses_subsets=uses_subsets)
    if submission.uses_subsets and not uses_subsets and account.role is not Role.ADMIN:
        raise ProblemError(
            "request.conflict",
            f"Submission {submission.id} is declared as fitted to the ranking subsets, and its owner cannot take this back.",
            "If the declaration was a mistake, ask the operator, or withdraw the submission and send the file again.",
        )


def edit(session: Session, submission: Submission, changes: dict[str, Any]) -> None:
    """Change fields of a submission, without a check of rights and quotas; `edit_and_rank` checks both.

    `changes` holds the new values by name of the field. The fields are ``title``, ``description``, ``tags``, ``urls``, ``paper``,
    ``code``, ``visibility``, ``pinned`` and ``uses_subsets``. ``urls`` replaces the links to the paper and to the code. ``paper``
    and ``code`` each replace one link; None removes the link.

    Pinning a submission, or changing the visibility or ``uses_subsets`` of a pinned one, unpins all other submissions of the same
    owner, benchmark, method and (new) visibility that have the same (new) ``uses_subsets``, or that share a protected board with
    the submission: protected boards do not tell declared files apart. The changed boards are not ranked here; the caller ranks
    them after the commit.

    Raises
    ------
    ProblemError
        ``request.conflict``: a submission that is not ranked and scored cannot be pinned.
    """
    versions = boards_of(submission)
    if changes.get("pinned") and (submission.kind != Kind.RANKED or submission.state != State.SCORED):
        raise ProblemError(
            "request.conflict",
            f"Only a scored ranked submission can be pinned. This one has kind {submission.kind} and state {submission.state}.",
            "Pin a ranked submission that has been scored.",
        )
    new_visibility = Visibility(changes.get("visibility", submission.visibility))
    decides_entry = bool(changes.keys() & {"visibility", "pinned", "uses_subsets"})
    if decides_entry and changes.get("pinned", submission.pinned):
        same_entry = (
            Submission.id != submission.id,
            Submission.user_id == submission.user_id,
            Version.benchmark_id == submission.version.benchmark_id,
            Submission.method == submission.method,
            Submission.visibility == new_visibility,
            Submission.pinned,
        )
        uses_subsets = changes.get("uses_subsets", submission.uses_subsets)
        protected = {version for version in versions if has_hidden_subsets(version.manifest)}
        for other in session.scalars(select(Submission).join(Submission.version).where(*same_entry)).all():
            boards = boards_of(other)
            if other.uses_subsets == uses_subsets or boards & protected:
                other.pinned = False
                versions |= boards
        session.flush()
    links = {name: changes[name] for name in ("paper", "code") if name in changes}
    if links:
        submission.urls = {name: address for name, address in (submission.urls | links).items() if address is not None}
    for name in changes.keys() - links.keys() - {"visibility"}:
        setattr(submission, name, changes[name])
    # The last change, because it flushes: a state in between could have a second pin where one is allowed.
    visibility.set_visibility(session, submission, new_visibility)
    if decides_entry:
        for version in versions:
            note_change(session, version)


def boards_of(submission: Submission) -> set[Version]:
    """Return the versions against which a submission has a finished or an unfinished evaluation; none after a withdrawal."""
    return {evaluation.version for evaluation in submission.evaluations}
