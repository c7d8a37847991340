"""Which entries have no counterfactual evaluation yet, and the claims of the processes that run one.

There is no list of jobs: every entry of a current version that can be evaluated, and has neither a result nor a reason for which
there is none, waits for its turn, the earliest submission first. Processes that share a database claim different entries.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from sqlalchemy import func, select, update

from app.benchmarks.catalog import current_versions
from app.db.base import now
from app.db.counterfactuals import Counterfactual
from app.db.models import Submission, Version
from app.db.presence import process_name, processes
from app.leaderboard.entries import list_entries
from ldsboard.counterfactual.plan import CODE_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.leaderboard.entries import Entry

MAX_FAILURES = 4
"""Number of failures after which an evaluation is not tried again."""

WAIT_FACTOR = 4
"""Factor by which each failure lengthens the wait before the next try."""

FAILED = "The server failed to train the models."
"""Reason of an evaluation that failed `MAX_FAILURES` times."""

log = structlog.get_logger()


class Waiting(NamedTuple):
    """An entry without an evaluation: the ids of its submission and of the version of its board."""

    submission_id: str
    version_id: int


class Claim(NamedTuple):
    """The claim of a process: the row, its number of claims, and what to evaluate."""

    id: int
    claims: int
    submission_id: str
    benchmark: str
    version: int
    file_sha256: str


class Boards:
    """Finds waiting entries; a board whose entries have all ended is not read again before something changes."""

    def __init__(self) -> None:
        self._ended: set[tuple[int, int, int]] = set()

    def next_waiting(self, session: Session) -> Waiting | None:
        """Return the waiting entry that was sent first; None if no entry can be evaluated now."""
        waiting: list[tuple[Any, str, int]] = []
        others = _others(session)
        for version in current_versions(session):
            ended = select(func.count()).where(*_is_of(version.id), Counterfactual.ended_at.is_not(None))
            board = (version.id, version.ranked_revision, session.scalar(ended) or 0)
            if board in self._ended or not can_evaluate(version.manifest):
                continue
            entries = list_entries(session, version)
            rows = {row.submission_id: row for row in session.scalars(_rows(version.id, entries))}
            open_entries = [entry for entry in entries if (row := rows.get(entry.id)) is None or row.ended_at is None]
            if not open_entries:
                self._ended.add(board)
            waiting += [
                (entry.created_at, entry.id, version.id)
                for entry in open_entries
                if _is_claimable(rows.get(entry.id), others)
            ]
        return Waiting(*min(waiting)[1:]) if waiting else None


def can_evaluate(manifest: dict[str, Any]) -> bool:
    """Return whether models of a benchmark can be trained again: it has a recipe, a public seed and images."""
    needed = {"kit/recipe.py", "train_images.npy", "target_images.npy"}
    return manifest["public_seed"] is not None and needed <= set(manifest["files"])


def claim(session: Session, waiting: Waiting) -> Claim | None:
    """Claim the evaluation of a waiting entry for this process; return None if another process has claimed it meanwhile."""
    submission = session.get(Submission, waiting.submission_id)
    if submission is None or submission.file_sha256 is None:  # withdrawn meanwhile
        return None
    row = session.scalar(select(Counterfactual).where(*_is_of(waiting.version_id), _of_submission(submission.id)))
    if not _is_claimable(row, _others(session)):
        return None
    if row is None:
        row = Counterfactual(submission_id=submission.id, version_id=waiting.version_id, code=CODE_VERSION, claims=0)
        session.add(row)
    row.claims += 1
    row.claimed_at, row.worker, row.percent = now(), process_name(), 0
    session.flush()
    version = session.get_one(Version, waiting.version_id)
    return Claim(row.id, row.claims, submission.id, version.benchmark.name, version.version, submission.file_sha256)


def _others(session: Session) -> set[str]:
    """Return the names of the other processes that run and are not frozen. Only their claims are valid.

    A process runs one evaluation after the other, so it has no claim when it looks for the next one.
    """
    return {f"{each.host}/{each.pid}" for each in processes(session) if not each.is_silent} - {process_name()}


def _is_claimable(row: Counterfactual | None, others: set[str]) -> bool:
    if row is None:
        return True
    is_due = row.not_before is None or row.not_before <= now()
    return row.ended_at is None and is_due and (row.claimed_at is None or row.worker not in others)


def _rows(version_id: int, entries: Iterable[Entry]) -> Select[Counterfactual]:
    return select(Counterfactual).where(
        *_is_of(version_id), Counterfactual.submission_id.in_([entry.id for entry in entries])
    )


def _is_of(version_id: int) -> tuple[Any, ...]:
    return (Counterfactual.version_id == version_id, Counterfactual.code == CODE_VERSION)


def _of_submission(submission_id: str) -> Any:
    return Counterfactual.submission_id == submission_id


def held(session: Session, claim: Claim) -> Counterfactual | None:
    """Return the row of a claim for writing; None if another process has claimed it meanwhile, or the submission is gone."""
    row = session.get(Counterfactual, claim.id)
    # SQLite reuses row ids, so the submission is compared too.
    if row is None or (row.submission_id, row.claims) != (claim.submission_id, claim.claims) or row.claimed_at is None:
        about = "this process no longer holds the evaluation"
        log.warning("counterfactual.refused", about=about, submission=claim.submission_id)
        return None
    return row


def release(session: Session, claim: Claim) -> None:
    """Give a claim back without a result, so that the evaluation goes on later."""
    if (row := held(session, claim)) is not None:
        _release(row)


def save(session: Session, claim: Claim, numbers: dict[str, Any], falls: bytes, headline: bytes) -> None:
    """Save the result of an evaluation, with the fields of `Counterfactual`."""
    if (row := held(session, claim)) is not None:
        _release(row)
        row.ended_at, row.numbers, row.falls, row.headline = now(), numbers, falls, headline


def give_up(session: Session, claim: Claim, reason: str) -> None:
    """End an evaluation without a result; the reason is public."""
    if (row := held(session, claim)) is not None:
        _release(row)
        row.ended_at, row.reason = now(), reason[:500]


def fail(session: Session, claim: Claim, first_wait: float) -> None:
    """Count a failure; the evaluation is tried again later, or ends without a result after `MAX_FAILURES`.

    The wait after the first failure is `first_wait` seconds.
    """
    if (row := held(session, claim)) is None:
        return
    _release(row)
    row.failures += 1
    row.not_before = now() + timedelta(seconds=first_wait * WAIT_FACTOR ** (row.failures - 1))
    if row.failures == MAX_FAILURES:
        row.ended_at, row.reason = now(), FAILED
        log.critical("alert", about="a counterfactual evaluation failed permanently", submission=claim.submission_id)


def try_again(session: Session) -> int:
    """Queue the evaluations again that ended without a result, such as after a limit was raised; return their number."""
    rows = update(Counterfactual).where(Counterfactual.reason.is_not(None), Counterfactual.code == CODE_VERSION)
    fresh = {"ended_at": None, "reason": None, "failures": 0, "not_before": None}
    return len(session.scalars(rows.values(fresh).returning(Counterfactual.id)).all())


def _release(row: Counterfactual) -> None:
    row.claimed_at = row.worker = row.percent = None
