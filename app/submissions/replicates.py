"""Replicates: submissions of one method that differ by the seed, or by other chance in a rerun.

Two submissions are replicates of each other if they have the same owner, version, method, visibility and kind, both or neither
count as fitted to the ranking subsets, and

- the owner states it: `Submission.replicate_of` names the first of them, the root; or
- the same commit sent both. Only the provenance with which a submission was created counts: a commit that sends the same file
  again later joins no replicates, so that replicates never change after their submission.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from app.db.models import State, Submission
from app.db.uploads import Provenance
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.submissions.fields import SubmissionRequest

FIRST_COMMIT = (
    select(Provenance.commit)
    .where(Provenance.submission_id == Submission.id)
    .order_by(Provenance.id)
    .limit(1)
    .correlate(Submission)
    .scalar_subquery()
)
"""SQL expression for the commit that a submission was created with; NULL if unknown."""

LOST = frozenset({State.REJECTED, State.FAILED, State.EXPIRED, State.WITHDRAWN})
"""States of a submission that has no result and will have none."""


class Sent(NamedTuple):
    """A submission as `group` needs it.

    Only submissions with equal ``series`` can be replicates of each other.
    """

    submission_id: str
    series: Hashable
    replicate_of: str | None
    commit: str | None


def group(sent: Iterable[Sent]) -> dict[str, frozenset[str]]:
    """Return, for each submission, the ids of its replicates and its own id."""
    ids: defaultdict[tuple[Hashable, str, str], set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = {}
    for submission in sent:
        joined = groups.setdefault(submission.submission_id, {submission.submission_id})
        for kind, name in (
            ("root", submission.replicate_of or submission.submission_id),
            ("commit", submission.commit),
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


def find_root(session: Session, user_id: int, version: Version, request: SubmissionRequest) -> str | None:
    """Return the id of the root that a new submission is a replicate of; None if the submission states no replicate.

    If the submission that the owner names is a replicate itself, the result is the root of that submission.

    Raises
    ------
    ProblemError
        ``replicate.different``: the owner has no such submission, it is to another version or of another method, or it has no
        result and will have none.
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
    if named.state in LOST:
        raise ProblemError.mismatch(
            "replicate.different",
            expected="replicate_of: a submission that has a result or waits for one",
            got=f"{named.id}, which is {named.state}",
            hint=f"Give the id of another submission of the method {named.method}, or leave out replicate_of.",
        )
    return named.replicate_of or named.id
