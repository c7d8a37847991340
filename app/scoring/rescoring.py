"""Rescoring: moving a whole board to a new version of a benchmark, or to a new scorer.

All scored submissions are evaluated again from their stored files. The board switches only when all these evaluations are done,
so that the board never mixes versions or scorers. Two versions are compatible if they have the same examples, targets and output
function. If the new version is not compatible with the old version, the entries stay on the board of the old version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from app.benchmarks.catalog import are_compatible
from app.db.models import Benchmark, Evaluation, Kind, State, Submission, Version
from app.db.tickets import Queue, note_ticket
from app.leaderboard.ranking import note_change, update_ranks
from ldsboard.core import result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

log = structlog.get_logger()


def introduce_version(session: Session, version: Version) -> None:
    """Make a new version the current version of the benchmark, at once or after rescoring.

    If the new version is compatible with the current version, the evaluations of all scored ranked submissions are queued, and
    the board switches when all of these are done. Otherwise the board switches at once. A version that is not newer than both the
    current and the next version changes nothing.
    """
    benchmark = version.benchmark
    current = next((known for known in benchmark.versions if known.version == benchmark.current_version), version)
    if version.version <= max(current.version, benchmark.next_version or 0):
        return
    if not are_compatible(current, version):
        benchmark.current_version, benchmark.next_version = version.version, None
        return
    benchmark.next_version = version.version
    _queue_evaluations(session, version, _scored_submission_ids(session, current, Kind.RANKED))
    update_board(session, version)


def queue_rescorings(session: Session) -> int:
    """Queue all missing rescorings of all benchmarks; return the number of unfinished rescorings.

    Results are rescored if their board still shows the results of another scorer version, or if the benchmark has a next version
    that is compatible with the current version. First evaluations in the queue have no result yet, and are only changed to the
    current scorer version. The failures of unfinished rescorings are reset to 0, so that failed rescorings are tried again.
    Boards without unfinished rescorings switch, see `update_board`.
    """
    first = select(Evaluation).join(Submission, Submission.id == Evaluation.submission_id)
    first = first.where(Submission.state == State.QUEUED, Evaluation.scored_at.is_(None))
    for evaluation in session.scalars(first):
        # The evaluation has no result yet, so the submission needs no second evaluation.
        evaluation.scorer_version = result.SCORER_VERSION
    for benchmark in session.scalars(select(Benchmark)):
        for version in benchmark.versions:
            if version.scorer_version != result.SCORER_VERSION:
                _queue_evaluations(session, version, _scored_submission_ids(session, version))
            if version.version == benchmark.current_version:
                queue_newer_versions(session, version, _scored_submission_ids(session, version, Kind.RANKED))
            for evaluation in session.scalars(_pending_rescorings(version)):
                evaluation.failures, evaluation.not_before = 0, None
            session.flush()
            update_board(session, version)
    return sum(_count_pending_rescorings(session, version) for version in session.scalars(select(Version)))


def update_board(session: Session, version: Version) -> None:
    """Raise the board revision of a version whose entries may have changed; switch the board if no rescoring is unfinished.

    Switching means two things. The board of `version` shows the results of the current scorer. If `version` is the next version
    of the benchmark, `version` becomes the current version. A board that switches is ranked in the same transaction, so that
    visitors see either the old or the new board.
    """
    note_change(session, version)
    if _count_pending_rescorings(session, version):
        return
    benchmark = version.benchmark
    renewed, switched = version.scorer_version != result.SCORER_VERSION, benchmark.next_version == version.version
    if renewed:
        version.scorer_version = result.SCORER_VERSION
        log.info("board.renewed", benchmark=benchmark.name, version=version.version, scorer=result.SCORER_VERSION)
    if switched:
        benchmark.current_version, benchmark.next_version = version.version, None
        log.info("board.switched", benchmark=benchmark.name, version=version.version)
    if renewed or switched:
        update_ranks(session, version)


def queue_newer_versions(session: Session, version: Version, submission_ids: list[str]) -> None:
    """Queue an evaluation of each submission against each compatible version that replaced, or will replace, `version`.

    These are the current and the next version of the benchmark, if newer than `version`. Existing evaluations are not repeated.
    """
    benchmark = version.benchmark
    for other in benchmark.versions:
        shown = other.version in (benchmark.current_version, benchmark.next_version)
        if shown and other.version > version.version and are_compatible(version, other):
            _queue_evaluations(session, other, submission_ids)


def _scored_submission_ids(session: Session, version: Version, *kinds: Kind) -> list[str]:
    """Return the ids of the submissions that were scored against a version, oldest first; with `kinds`, only of these kinds."""
    scored = select(Evaluation.submission_id).where(
        Evaluation.version_id == version.id, Evaluation.scored_at.is_not(None)
    )
    query = select(Submission.id).where(
        Submission.id.in_(scored), Submission.state == State.SCORED, Submission.kind.in_(kinds or list(Kind))
    )
    return list(session.scalars(query.order_by(Submission.created_at, Submission.id)))


def _queue_evaluations(session: Session, version: Version, submission_ids: Iterable[str]) -> None:
    """Queue an evaluation against `version` by the current scorer for each submission that has no such evaluation yet."""
    made_for = {"version_id": version.id, "scorer_version": result.SCORER_VERSION}
    existing = set(session.scalars(select(Evaluation.submission_id).filter_by(**made_for)))
    missing = [submission_id for submission_id in submission_ids if submission_id not in existing]
    session.add_all(Evaluation(submission_id=submission_id, **made_for) for submission_id in missing)
    note_ticket(session, Queue.RESCORING, count=len(missing))
    session.flush()


def _pending_rescorings(version: Version) -> Select[Evaluation]:
    """Return a query for the unfinished rescorings against a version.

    These are the evaluations by the current scorer that have no result, of submissions that were scored before.
    """
    return (
        select(Evaluation)
        .join(Submission, Submission.id == Evaluation.submission_id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == result.SCORER_VERSION,
            Evaluation.scored_at.is_(None),
            Submission.state == State.SCORED,
        )
    )


def _count_pending_rescorings(session: Session, version: Version) -> int:
    return session.scalar(select(func.count()).select_from(_pending_rescorings(version).subquery())) or 0
