"""Boards that change as a whole: to a new version of a benchmark, or to a new scorer.

Everything that was scored is scored again, from the stored files, and only when all of that is done the board shows it: never a
mixture. A version is compatible with the one before if it has the same examples, targets and output function; otherwise entries
stay on the old board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from app.benchmarks.catalog import are_compatible
from app.db.models import Benchmark, Evaluation, Kind, State, Submission, Version
from app.leaderboard.ranking import update_ranks
from ldsboard import result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

log = structlog.get_logger()


def introduce_version(session: Session, version: Version) -> None:
    """Make a new version the current one: at once, or when what was scored against the one before is scored against it."""
    benchmark = version.benchmark
    current = next((known for known in benchmark.versions if known.version == benchmark.current_version), version)
    if version.version <= max(current.version, benchmark.next_version or 0):
        return
    if current is version or not are_compatible(current, version):
        _switch(benchmark, version)
        return
    benchmark.next_version = version.version
    _add(session, version, _scored(session, current, Kind.RANKED))
    update_board(session, version)


def requeue_outdated(session: Session) -> int:
    """Have everything scored again that the present scorer has not scored, and return how many evaluations wait for that.

    What failed too often before is tried again.
    """
    for evaluation in session.scalars(_first_ones()):
        evaluation.scorer_version = result.SCORER_VERSION  # nobody has begun it
    for benchmark in session.scalars(select(Benchmark)):
        for version in benchmark.versions:
            if version.scorer_version != result.SCORER_VERSION:
                _add(session, version, _scored(session, version))
            if version.version == benchmark.current_version:
                _add_following(session, version, _scored(session, version, Kind.RANKED))
            for evaluation in session.scalars(_again(version)):
                evaluation.failures, evaluation.not_before = 0, None
            session.flush()
            update_board(session, version)
    return sum(_waiting(session, version) for version in session.scalars(select(Version)))


def update_board(session: Session, version: Version) -> None:
    """Let the boards show a version, or the present scorer on it, if all is there that they need; and rank its entries."""
    benchmark = version.benchmark
    if not _waiting(session, version):
        if version.scorer_version != result.SCORER_VERSION:
            version.scorer_version = result.SCORER_VERSION
            log.info("board.renewed", benchmark=benchmark.name, version=version.version, scorer=result.SCORER_VERSION)
        if benchmark.next_version == version.version:
            _switch(benchmark, version)
            log.info("board.switched", benchmark=benchmark.name, version=version.version)
        session.flush()
    update_ranks(session, version)


def queue_newer_versions(session: Session, evaluation: Evaluation) -> None:
    """Have what was just scored against a version scored against the one that took its place meanwhile, or will, too."""
    if evaluation.submission.kind == Kind.RANKED:
        _add_following(session, evaluation.version, [evaluation.submission_id])


def _add_following(session: Session, version: Version, submission_ids: list[str]) -> None:
    """Have what was scored against a version scored against those that took its place or will, if they are compatible."""
    benchmark = version.benchmark
    for other in benchmark.versions:
        shown = other.version in (benchmark.current_version, benchmark.next_version)
        if shown and other.version > version.version and are_compatible(version, other):
            _add(session, other, submission_ids)


def _first_ones() -> Select[Evaluation]:
    """Select the evaluations of what waits to be scored for the first time, by a scorer that is no more."""
    return (
        select(Evaluation)
        .join(Submission, Submission.id == Evaluation.submission_id)
        .where(
            Submission.state == State.QUEUED,
            Evaluation.scored_at.is_(None),
            Evaluation.scorer_version != result.SCORER_VERSION,
        )
    )


def _switch(benchmark: Benchmark, version: Version) -> None:
    benchmark.current_version, benchmark.next_version = version.version, None


def _scored(session: Session, version: Version, *kinds: Kind) -> list[str]:
    """Return the submissions that were scored against a version, the oldest first."""
    query = (
        select(Submission.id)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scored_at.is_not(None),
            Submission.state == State.SCORED,
            Submission.kind.in_(kinds or list(Kind)),
        )
        .order_by(Submission.created_at, Submission.id)
        .distinct()
    )
    return list(session.scalars(query))


def _add(session: Session, version: Version, submission_ids: Iterable[str]) -> None:
    """Have submissions evaluated against a version by the present scorer, unless they are."""
    scorer = result.SCORER_VERSION
    known = select(Evaluation.submission_id).where(
        Evaluation.version_id == version.id, Evaluation.scorer_version == scorer
    )
    there = set(session.scalars(known))
    for submission_id in submission_ids:
        if submission_id not in there:
            session.add(Evaluation(submission_id=submission_id, version_id=version.id, scorer_version=scorer))
    session.flush()


def _again(version: Version) -> Select[Evaluation]:
    """Select the evaluations of what is scored already that a board waits for."""
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


def _waiting(session: Session, version: Version) -> int:
    return session.scalar(select(func.count()).select_from(_again(version).subquery())) or 0
