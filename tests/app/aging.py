"""Old submissions, and sweeps of the retention with the default periods."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from app.db.base import now
from app.db.models import Event, Kind, State, Submission
from app.db.uploads import Provenance
from app.management.retention import Deleted, Periods, sweep
from app.settings import Settings

if TYPE_CHECKING:
    from tests.app.harness import ServiceHarness

PERIODS = Periods.of(Settings())
DAY = timedelta(days=1)
NOTHING = Deleted(0, 0, 0, 0)


def sweep_all(harness: ServiceHarness) -> Deleted:
    """Sweep until nothing is left to delete; return the sums."""
    deleted = NOTHING
    while any(batch := sweep(harness.database, harness.storage, PERIODS)):
        deleted = Deleted(*(sum(numbers) for numbers in zip(deleted, batch, strict=True)))
    return deleted


def age(harness: ServiceHarness, days: float, *submission_ids: str) -> None:
    """Move submissions, their events and their provenances into the past, and keep their order."""
    with harness.database.write() as session:
        for number, submission_id in enumerate(submission_ids):
            moment = now() - days * DAY + timedelta(seconds=number)
            session.execute(update(Submission).where(Submission.id == submission_id).values(created_at=moment))
            for table in (Event, Provenance):
                session.execute(update(table).where(table.submission_id == submission_id).values(at=moment))


def practise(harness: ServiceHarness, content: bytes, days: float, **fields: Any) -> str:
    """Send and score a practice submission that is some days old; return its id."""
    sent = harness.accept(content, kind=Kind.PRACTICE, **fields)
    assert harness.evaluator.evaluate_next()
    assert harness.state(sent) == State.SCORED
    age(harness, days, sent)
    return sent


def are_kept(harness: ServiceHarness, *submission_ids: str) -> list[bool]:
    with harness.database.read() as session:
        kept = set(session.scalars(select(Submission.id)))
    return [submission_id in kept for submission_id in submission_ids]
