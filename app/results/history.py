"""The versions of a benchmark, what changed on its board from one to the next, and when an entry last changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, union_all

from app.accounts.audit import Action
from app.benchmarks import catalog
from app.db.accounts import Audit
from app.db.models import Evaluation, Event, Submission
from app.leaderboard import entries
from app.leaderboard.views import leaderboard_view

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.schemas import Row


@dataclass(frozen=True)
class VersionSummary:
    """A version as the history tells it; ``follows`` tells whether files sent to the one before could be scored against it."""

    number: int
    published_at: datetime
    subsets: int
    runs: int
    ceiling: float | None
    entries: int
    follows: bool


@dataclass(frozen=True)
class EntryChange:
    """An entry that is on both boards: where it was, and where it is."""

    before: Row
    after: Row


def version_summaries(session: Session, version: Version) -> list[VersionSummary]:
    """Return the versions of a benchmark that are or were current, the newest first."""
    benchmark = version.benchmark
    shown = [known for known in benchmark.versions if known.version <= benchmark.current_version]
    return [
        VersionSummary(
            number=known.version,
            published_at=known.created_at,
            subsets=sum(known.manifest["subsets"].values()),
            runs=known.manifest["runs"],
            ceiling=known.manifest["ceiling"],
            entries=len(entries.list_entries(session, known)),
            follows=before is not None and catalog.are_compatible(before, known),
        )
        for before, known in zip([None, *shown], shown, strict=False)
    ][::-1]


def previous_version(version: Version) -> Version | None:
    """Return the version before this one."""
    return max(
        (known for known in version.benchmark.versions if known.version < version.version),
        key=lambda known: known.version,
        default=None,
    )


def entry_changes(session: Session, before: Version, after: Version) -> list[EntryChange]:
    """Return the entries that are listed on both boards, as visitors see them, in the order of the later one."""
    earlier = {row.id: row for row in leaderboard_view(session, before).rows}
    return [EntryChange(earlier[row.id], row) for row in leaderboard_view(session, after).rows if row.id in earlier]


def last_changed(session: Session, submission_ids: Sequence[str]) -> dict[str, datetime]:
    """Return when each submission last changed: was sent, moved from state to state, scored, or edited."""
    edited = Audit.action == Action.SUBMISSION_EDITED
    moments = union_all(
        select(Submission.id, Submission.created_at).where(Submission.id.in_(submission_ids)),
        select(Event.submission_id, Event.at).where(Event.submission_id.in_(submission_ids)),
        select(Evaluation.submission_id, Evaluation.scored_at).where(
            Evaluation.submission_id.in_(submission_ids), Evaluation.scored_at.is_not(None)
        ),
        select(Audit.subject, Audit.at).where(edited, Audit.subject.in_(submission_ids)),
    ).subquery()
    submission_id, at = moments.c
    query = select(submission_id, func.max(at)).group_by(submission_id)
    return dict(session.execute(query).all())
