"""Replicates: submissions of one method that differ by the seed, or by other chance in a rerun.

Two submissions are replicates of each other if they have the same owner, version, method, visibility and kind, both or neither
count as fitted to the ranking subsets (these are the columns of `series`), and

- the owner states it: `Submission.replicate_of` names the first of them, the root; or
- the same commit sent both, so that `Submission.rerun_key` is the same. The key is stored when a submission is created: a commit
  that sends the same file again later joins no replicates, and the deletion of an account separates none.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import false, select

from app.benchmarks.catalog import has_hidden_subsets
from app.db.models import State, Submission
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.submissions.fields import SubmissionRequest

LOST = frozenset({State.REJECTED, State.FAILED, State.EXPIRED, State.WITHDRAWN})
"""States of a submission that has no result and will have none."""


class Sent(NamedTuple):
    """A submission as `group` needs it.

    Only submissions with equal ``series`` can be replicates of each other.
    """

    submission_id: str
    series: Hashable
    replicate_of: str | None
    rerun_key: str | None


def rerun_key(user_id: int, commit: str | None) -> str | None:
    """Return the `Submission.rerun_key` of a submission that a user created with a commit; None without a commit.

    The key is the SHA-256 of user id and commit in hexadecimal digits. It holds the user id so that no commit joins the
    submissions of two users, and hides the commit, which is deleted with the account of the user.
    """
    return None if commit is None else sha256(f"{user_id}\0{commit}".encode()).hexdigest()


def counts_as_fitted(version: Version) -> ColumnElement[bool]:
    """Return the SQL value whether a submission counts as fitted to the ranking subsets on the board of a version.

    The owner declares it. Nobody can fit scores to hidden subsets, so the declaration has no effect on a protected board, which
    can be the next version of a practice board.
    """
    return false() if has_hidden_subsets(version.manifest) else Submission.uses_subsets.expression


def is_declared_fitted(submission: Submission, version: Version) -> bool:
    """Return whether a submission counts as fitted on the board of a version, as `counts_as_fitted` does."""
    return submission.uses_subsets and not has_hidden_subsets(version.manifest)


def series(version: Version) -> tuple[Any, ...]:
    """Return the columns that are equal for all replicates of a submission, among the results on a version."""
    columns = (Submission.user_id, Submission.version_id, Submission.method, Submission.visibility, Submission.kind)
    return (*columns, counts_as_fitted(version))


def group(sent: Iterable[Sent]) -> dict[str, frozenset[str]]:
    """Return, for each submission, the ids of its replicates and its own id."""
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


def are_replicates(session: Session, submission: Submission, other_id: str) -> bool:
    """Return whether a submission and another one, or the submission that the other is a replicate of, are in one group."""
    other = session.get(Submission, other_id)
    root = other_id if other is None else (other.replicate_of or other.id)
    if root == (submission.replicate_of or submission.id):
        return True
    columns = (Submission.id, Submission.replicate_of, Submission.rerun_key, *series(submission.version))
    alike = select(*columns).where(
        Submission.user_id == submission.user_id,
        Submission.version_id == submission.version_id,
        Submission.method == submission.method,
        Submission.state.not_in(LOST),
    )
    groups = group(Sent(name, tuple(rest), root, key) for name, root, key, *rest in session.execute(alike))
    return not groups.get(submission.id, frozenset()).isdisjoint({other_id, root})


def find_root(session: Session, user_id: int, version: Version, request: SubmissionRequest) -> str | None:
    """Return the id of the root that a new submission is a replicate of; None if the submission states no replicate.

    If the submission that the owner names is a replicate itself, the result is the root of that submission.

    Raises
    ------
    ProblemError
        ``replicate.different``: the owner has no such submission; it is to another version; it is of another method, kind or
        visibility; only one of both is declared as fitted to the ranking subsets; or it has no result and will have none.
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
