"""Replicates: submissions of one method that differ by the seed, or by other chance in a rerun.

Two conditions make two submissions replicates of each other. First, the columns of `series` are equal: owner, version, method,
visibility and kind, and whether the scores count as fitted to the ranking subsets. Second, one of these statements is true:

- The owner states that they are replicates: `Submission.replicate_of` of both names the same root, or one names the other.
- The same commit sent both, so that `Submission.rerun_key` is equal. The key is stored when a submission is created. Therefore a
  commit that later sends an earlier file again joins no replicates, and the deletion of an account separates none.

All replicates of a replicate are in one group, see `group`.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, false, select
from sqlalchemy.orm import aliased

from app.benchmarks.catalog import has_hidden_subsets
from app.db.models import State, Submission
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.submissions.fields import SubmissionRequest

LOST = frozenset({State.REJECTED, State.FAILED, State.EXPIRED, State.WITHDRAWN})
"""States of a submission that has no result and will have none."""


class Sent(NamedTuple):
    """The fields of a submission that `group` reads.

    Only submissions with equal ``series`` can be replicates of each other.
    """

    submission_id: str
    series: Hashable
    replicate_of: str | None
    rerun_key: str | None


def rerun_key(user_id: int, commit: str | None) -> str | None:
    """Return the `Submission.rerun_key` of a submission that a user created with a commit; None without a commit.

    The key is the SHA-256 of user id and commit in hexadecimal digits. With the user id, no commit joins the submissions of two
    users. The hash hides the commit, because the commit must be unknown after the deletion of the account.
    """
    return None if commit is None else sha256(f"{user_id}\0{commit}".encode()).hexdigest()


def counts_as_fitted(version: Version) -> ColumnElement[bool]:
    """Return an SQL expression that says whether a submission counts as fitted to the ranking subsets on the board of a version.

    On a practice board, the declaration of the owner decides (``uses_subsets``). On a protected board, no submission counts as
    fitted, because nobody can fit scores to hidden subsets. A declared submission can come to a protected board, because the next
    version of a practice board can be protected.
    """
    return false() if has_hidden_subsets(version.manifest) else Submission.uses_subsets.expression


def is_declared_fitted(submission: Submission, version: Version) -> bool:
    """Return whether a submission is declared as fitted and the ranking subsets of a version are public."""
    return submission.uses_subsets and not has_hidden_subsets(version.manifest)


def series(version: Version) -> tuple[Any, ...]:
    """Return the SQL columns that are equal for replicates on the board of a version; the last is `counts_as_fitted`."""
    columns = (Submission.user_id, Submission.version_id, Submission.method, Submission.visibility, Submission.kind)
    return (*columns, counts_as_fitted(version))


def group(sent: Iterable[Sent]) -> dict[str, frozenset[str]]:
    """Return, for each submission id, that id and the ids of all submissions that a chain of replicates joins to it."""
    ids: defaultdict[tuple[Hashable, str, str], set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = {}
    for submission in sent:
        joined = groups.setdefault(submission.submission_id, {submission.submission_id})
        for kind, name in (
            ("root", submission.replicate_of or submission.submission_id),
            ("commit", submission.rerun_key),
        ):
            if name is None:
                continue
            others = ids[submission.series, kind, name]
            for other in tuple(others):
                joined |= groups[other]
            others.add(submission.submission_id)
        for member in joined:
            groups[member] = joined
    return {name: frozenset(members) for name, members in groups.items()}


def find_groups(
    session: Session, version: Version, submission_ids: Collection[str], *conditions: ColumnElement[bool]
) -> dict[str, frozenset[str]]:
    """Return, for each given submission id, that id and the ids of its replicates among the submissions that meet `conditions`.

    Parameters
    ----------
    version
        The version on whose board the submissions are compared; it decides whether a submission counts as fitted.
    conditions
        SQL conditions on `Submission`.
    """
    given = aliased(Submission)
    same_method = and_(
        given.user_id == Submission.user_id,
        given.version_id == Submission.version_id,
        given.method == Submission.method,
    )
    columns = (Submission.id, Submission.replicate_of, Submission.rerun_key, *series(version))
    query = select(*columns).join(given, same_method).where(given.id.in_(submission_ids), *conditions).distinct()
    groups = group(Sent(name, tuple(alike), root, key) for name, root, key, *alike in session.execute(query))
    return {name: groups.get(name, frozenset()) | {name} for name in submission_ids}


def are_replicates(session: Session, submission: Submission, other_id: str) -> bool:
    """Return whether a submission is in the same group of replicates as the submission `other_id`, or as the root of that one.

    Two submissions with the same root always count as replicates here, whatever their other columns hold. Otherwise, submissions
    in a state of `LOST` are in no group.
    """
    other = session.get(Submission, other_id)
    root = other_id if other is None else (other.replicate_of or other.id)
    if root == (submission.replicate_of or submission.id):
        return True
    groups = find_groups(session, submission.version, [submission.id], Submission.state.not_in(LOST))
    return not groups[submission.id].isdisjoint({other_id, root})


def find_root(session: Session, user_id: int, version: Version, request: SubmissionRequest) -> str | None:
    """Return the id of the root of a new submission; None if the request does not state ``replicate_of``.

    If ``replicate_of`` names a submission that is a replicate itself, the result is the root of the named submission.

    Raises
    ------
    ProblemError
        ``replicate.different``: the owner has no submission with the named id; the named submission has another version, method,
        kind or visibility; only one of the two submissions is declared as fitted; or the state of the named one is in `LOST`.
    """
    if request.replicate_of is None:
        return None
    named = session.get(Submission, request.replicate_of)
    wanted = f"{version.benchmark.name} version {version.version}"
    if named is None or named.user_id != user_id:
        raise ProblemError.mismatch(
            "replicate.different",
            expected="replicate_of: the id of one of your own submissions",
            got=repr(request.replicate_of),
            hint=f"Give the id of your submission of the method {request.method} to {wanted}, or leave out replicate_of.",
        )
    got = f"{named.version.benchmark.name} version {named.version.version}"
    if named.version_id != version.id:
        raise ProblemError.mismatch(
            "replicate.different",
            expected=f"replicate_of: a submission to {wanted}",
            got=f"{named.id}, a submission to {got}",
            hint="Send a first file to this version without replicate_of, and give the id of that submission for the others.",
        )
    if named.method != request.method:
        raise ProblemError.mismatch(
            "replicate.different",
            expected=f"replicate_of: a submission of the method {request.method}",
            got=f"{named.id}, a submission of the method {named.method}",
            hint=f"Submit the file with the method {named.method}, or leave out replicate_of.",
        )
    for field, own, wanted_value in (
        ("kind", named.kind, request.kind.value),
        ("visibility", named.visibility, request.visibility.value),
        ("uses_subsets", _as_stated(named.uses_subsets), _as_stated(request.uses_subsets)),
    ):
        if own != wanted_value:
            raise ProblemError.mismatch(
                "replicate.different",
                expected=f"replicate_of: a submission with {field}={wanted_value}",
                got=f"{named.id}, a submission with {field}={own}",
                hint=f"Submit the file with {field}={own}, or leave out replicate_of.",
            )
    if named.state in LOST:
        raise ProblemError.mismatch(
            "replicate.different",
            expected="replicate_of: a submission that has a result or waits for one",
            got=f"{named.id}, which is {named.state}",
            hint=f"Give the id of another submission of the method {named.method}, or leave out replicate_of.",
        )
    return named.replicate_of or named.id


def _as_stated(value: bool) -> str:
    """Return a truth value as query parameters and JSON write it."""
    return "true" if value else "false"
