"""The scored replicates of submissions, for comparisons and for the page of a submission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sqlalchemy import BindParameter, bindparam, null, select
from sqlalchemy.orm import selectinload

from app.db.models import Evaluation, State, Submission
from app.leaderboard.averages import mean_of
from app.leaderboard.disclosure import is_fitted, round_lds
from app.results.schemas import ReplicatesView
from app.submissions.replicates import find_groups
from ldsboard.core.significance import standard_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.entries import Entry

ARRAYS = selectinload(Evaluation.measurements).undefer("*")
"""Option of queries for evaluations: load the arrays of psi and rho too."""

SUBMISSION_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)

OF_BOARD = (
    select(Evaluation)
    .where(
        Evaluation.submission_id.in_(SUBMISSION_IDS),
        Evaluation.version_id == bindparam("version_id"),
        Evaluation.scorer_version == bindparam("scorer_version"),
    )
    .options(ARRAYS)
)
"""Query of `load_replicates`, built once for speed."""


def find_replicates(session: Session, evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    """Return the evaluations of each submission and of its replicates, sorted by submission id.

    The replicates are scored, not suspended, and evaluated against the same version by the same scorer version; the arrays of psi
    and rho are loaded. Replicates and submission have the same visibility, so a viewer of the submission may see all
    replicates.

    Parameters
    ----------
    evaluations
        Finished evaluations with the arrays of psi and rho, against one version and by one scorer version.

    Returns
    -------
    dict
        The lists of evaluations, by the id of each given submission. The list of a submission without replicates holds only its
        own evaluation.
    """
    if not evaluations:
        return {}
    first = evaluations[0]
    own = {evaluation.submission_id: evaluation for evaluation in evaluations}
    scored = (
        Evaluation.version_id == first.version_id,
        Evaluation.scorer_version == first.scorer_version,
        Evaluation.scored_at.is_not(None),
    )
    members = find_groups(
        session,
        first.version,
        own.keys(),
        Submission.id.in_(select(Evaluation.submission_id).where(*scored)),
        Submission.state == State.SCORED,
        Submission.suspension.is_(null()),
    )
    others = {member for ids in members.values() for member in ids} - own.keys()
    found = dict(own)
    if others:
        loaded = select(Evaluation).where(Evaluation.submission_id.in_(others), *scored)
        found |= {evaluation.submission_id: evaluation for evaluation in session.scalars(loaded.options(ARRAYS))}
    return {name: [found[member] for member in sorted(ids)] for name, ids in members.items()}


def load_replicates(session: Session, version: Version, entries: Sequence[Entry]) -> dict[str, list[Evaluation]]:
    """Return the evaluations of the replicates of each entry of a board, by the id of the entry.

    Each list is sorted by submission id, and includes the evaluation of the entry itself. The replicates are those that were
    found when the board was ranked, without replicates that were withdrawn since. The arrays of psi and rho are loaded.
    """
    ids = {member for entry in entries for member in entry.replicate_ids}
    values = {"ids": list(ids), "version_id": version.id, "scorer_version": version.scorer_version}
    found = {evaluation.submission_id: evaluation for evaluation in session.scalars(OF_BOARD, values)}
    return {entry.id: [found[member] for member in entry.replicate_ids if member in found] for entry in entries}


def replicates_view(replicates: Sequence[Evaluation]) -> ReplicatesView | None:
    """Return the mean over the replicates of one submission, rounded for publication; None for a single file.

    `replicates` is one of the lists that `find_replicates` returns.
    """
    if len(replicates) == 1:
        return None
    first = replicates[0]
    part: Literal["ranking", "public"] = "ranking" if "ranking" in first.parts else "public"
    split = first.version.manifest["split"] if part == "ranking" else "open"
    measured = [each.parts[part] for each in replicates]
    mean = mean_of(measured, split)
    error = standard_error(mean.influence_M)
    numbers = [(mean.lds, error), *((each.lds, each.std_error) for each in measured)] if part == "ranking" else []
    return ReplicatesView(
        ids=[each.submission_id for each in replicates],
        part=part,
        lds=round_lds(mean.lds, split),
        std_error=round_lds(error, split),
        spread=round_lds(mean.reruns.spread, split),
        fitted=any(is_fitted(*each, first.version.manifest) for each in numbers),
    )
