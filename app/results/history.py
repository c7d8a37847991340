"""History of a benchmark: versions, changes of entries between versions, and the time of each submission's last change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, union_all

from app.accounts.audit import Action
from app.benchmarks import catalog
from app.db.accounts import Audit
from app.db.models import Evaluation, Event, State, Submission
from app.leaderboard import entries
from app.leaderboard.disclosure import benchmark_numbers
from app.leaderboard.views import leaderboard_view
from app.submissions.replicates import find_groups

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.schemas import Row


@dataclass(frozen=True)
class VersionSummary:
    """A version of a benchmark, as the list of versions on the benchmark's page shows it.

    ``compatible_with_previous`` is true if score files sent to the previous version can be scored against this version.
    """

    number: int
    published_at: datetime
    subsets: int
    runs: int
    ceiling: float | None
    entries: int
    compatible_with_previous: bool


@dataclass(frozen=True)
class EntryChange:
    """An entry that is listed on the boards of two versions: the entry's row on the earlier board, and on the later board."""

    before: Row
    after: Row


def version_summaries(session: Session, version: Version) -> list[VersionSummary]:
    """Return the versions of a benchmark that are or were current, newest first."""
    benchmark = version.benchmark
    released = [other for other in benchmark.versions if other.version <= benchmark.current_version]
    return [
        VersionSummary(
            number=after.version,
            published_at=after.created_at,
            subsets=catalog.count_subsets(after.manifest),
            runs=after.manifest["runs"],
            ceiling=benchmark_numbers(after.manifest)["ceiling"],
            entries=len(entries.list_entries(session, after)),
            compatible_with_previous=before is not None and catalog.are_compatible(before, after),
        )
        for before, after in zip([None, *released], released, strict=False)
    ][::-1]


def previous_version(version: Version) -> Version | None:
    """Return the version with the next lower number; None for the first version."""
    earlier = [other for other in version.benchmark.versions if other.version < version.version]
    return earlier[-1] if earlier else None


def entry_changes(session: Session, before: Version, after: Version) -> list[EntryChange]:
    """Return, for each entry on the boards of both versions, the rows on both boards; in the order of the later board."""
    earlier = {row.id: row for row in leaderboard_view(session, before).rows}
    return [EntryChange(earlier[row.id], row) for row in leaderboard_view(session, after).rows if row.id in earlier]


def last_changed(session: Session, version: Version, submission_ids: Sequence[str]) -> dict[str, datetime]:
    """Return when each entry of a version last changed, by the id of its submission.

    A submission changes by its creation, a state transition, an evaluation, an edit, a suspension or the end of one. A change of
    a replicate, also of a withdrawn one, changes the mean, and so the entry.
    """
    kept = Submission.state.in_([State.SCORED, State.WITHDRAWN])
    members = find_groups(session, version, submission_ids, kept)
    ids = {member for joined in members.values() for member in joined}
    audited = Audit.action.in_([Action.SUBMISSION_EDITED, Action.SUBMISSION_SUSPENDED, Action.SUBMISSION_REINSTATED])
    moments = union_all(
        select(Submission.id, Submission.created_at).where(Submission.id.in_(ids)),
        select(Event.submission_id, Event.at).where(Event.submission_id.in_(ids)),
        select(Evaluation.submission_id, Evaluation.scored_at).where(
            Evaluation.submission_id.in_(ids), Evaluation.scored_at.is_not(None)
        ),
        select(Audit.subject, Audit.at).where(audited, Audit.subject.in_(ids)),
    ).subquery()
    submission_id, at = moments.c
    query = select(submission_id, func.max(at)).group_by(submission_id)
    changed: dict[str, datetime] = dict(session.execute(query).all())
    return {name: max(changed[member] for member in joined) for name, joined in members.items()}
