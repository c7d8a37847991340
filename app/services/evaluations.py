"""Evaluations: taken from the queue, scored in a scoring process, and written down with everything that follows from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import func, select

from app.db.models import Evaluation, Kind, Measurement, State, Submission, now
from app.services import leaderboard
from app.services.benchmarks import folder_of
from app.services.files import discard_unreferenced, release_file
from app.services.submissions import move
from ldsboard.problems import Problem, ProblemError
from ldsboard.result import SCORER_VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.sandbox.scorer import Scored, Scorer
    from app.storage import Storage

MAX_FAILURES = 3
"""How often our own failure is tried again before a submission is given up."""

log = structlog.get_logger()


class Evaluator:
    """Does evaluations, one call at a time, safe to repeat: a result is written once, whatever was killed before."""

    def __init__(self, database: Database, storage: Storage, benchmarks: Path, scorer: Scorer) -> None:
        self._database = database
        self._storage = storage
        self._benchmarks = benchmarks
        self._scorer = scorer

    def work(self) -> bool:
        """Take the oldest evaluation that waits and do it; tell whether there was one."""
        with self._database.write() as session:
            evaluation_id = _claim(session)
        if evaluation_id is None:
            return False
        try:
            self.evaluate(evaluation_id)
        except Exception:
            # Not even the failure could be written: back to the queue, so that no submission is stuck.
            with self._database.write() as session:
                submission_id = session.get_one(Evaluation, evaluation_id).submission_id
                move(session, submission_id, State.SCORING, State.QUEUED, detail="the outcome could not be written")
            raise
        return True

    def evaluate(self, evaluation_id: int) -> None:
        """Score one claimed evaluation and write what came of it."""
        with self._database.read() as session:
            submission = session.get_one(Evaluation, evaluation_id).submission
            version = submission.version
            folder = folder_of(self._benchmarks, version.benchmark.name, version.version)
            scores = self._storage.path(str(submission.file_sha256))
            parts = ["public", "ranking"] if submission.kind == Kind.RANKED else ["public"]
        started = time.perf_counter()
        try:
            scored = self._scorer.score(folder, scores, parts)
            with self._database.write() as session:
                _write(session, evaluation_id, scored, time.perf_counter() - started)
        except ProblemError as error:
            self._reject(submission.id, error.problem)
            return
        except Exception as error:  # noqa: BLE001 -- whatever it was, it is ours: noted, logged and tried again
            self._fail(submission.id, error)
            return
        log.info("submission.scored", submission=submission.id, seconds=round(time.perf_counter() - started, 3))

    def _reject(self, submission_id: str, problem: Problem) -> None:
        with self._database.write() as session:
            if not move(
                session, submission_id, State.SCORING, State.REJECTED, detail=problem.code, error=problem.as_dict()
            ):
                return
            orphan = release_file(session, session.get_one(Submission, submission_id))
        if orphan is not None:
            # After the commit, so that a kill loses no file that is still referred to; in a transaction of its own, so that
            # nobody takes up the same content meanwhile.
            with self._database.write() as session:
                discard_unreferenced(session, self._storage, [orphan])
        log.info("submission.rejected", submission=submission_id, code=problem.code)

    def _fail(self, submission_id: str, error: Exception) -> None:
        problem = Problem(
            "internal.failed",
            expected="a result",
            got=type(error).__name__,
            hint="Send the file again later; a failure of ours costs no quota.",
        )
        with self._database.write() as session:
            failures = session.get_one(Submission, submission_id).failures + 1
            if failures < MAX_FAILURES:
                move(session, submission_id, State.SCORING, State.QUEUED, detail=repr(error)[:500], failures=failures)
            else:
                gone = {"error": problem.as_dict(), "failures": failures}
                move(session, submission_id, State.SCORING, State.FAILED, detail=repr(error)[:500], **gone)
        log.error("submission.failed", submission=submission_id, failures=failures, exc_info=error)


def _claim(session: Session) -> int | None:
    waiting = (
        select(Evaluation)
        .join(Submission)
        .where(Evaluation.scored_at.is_(None), Submission.state == State.QUEUED)
        .order_by(Evaluation.id)
        .limit(1)
    )
    evaluation = session.scalar(waiting)
    if evaluation is None or not move(session, evaluation.submission_id, State.QUEUED, State.SCORING):
        return None
    return evaluation.id


def _write(session: Session, evaluation_id: int, scored: dict[str, Scored], seconds: float) -> None:
    evaluation = session.get_one(Evaluation, evaluation_id)
    if not move(session, evaluation.submission_id, State.SCORING, State.SCORED):
        return
    evaluation.scored_at = now()
    evaluation.seconds = seconds
    for part, result in scored.items():
        session.add(
            Measurement(
                evaluation_id=evaluation_id,
                part=part,
                influence=result.influence.astype("<f8").tobytes(),
                per_target=result.per_target.astype("<f8").tobytes(),
                **result.numbers,
            )
        )
    session.flush()
    if evaluation.submission.kind == Kind.RANKED:
        leaderboard.rank(session, evaluation.submission.version)


def find(session: Session, submission: Submission) -> Evaluation | None:
    """Return the finished evaluation of a submission by the present scorer, if there is one."""
    return session.scalar(
        select(Evaluation).where(
            Evaluation.submission_id == submission.id,
            Evaluation.version_id == submission.version_id,
            Evaluation.scorer_version == SCORER_VERSION,
            Evaluation.scored_at.is_not(None),
        )
    )


def measured(session: Session, submission: Submission) -> dict[str, Measurement]:
    """Return what was measured of a submission, by part.

    Raises
    ------
    ProblemError
        ``submission.not_scored``.
    """
    evaluation = find(session, submission)
    if evaluation is None:
        raise ProblemError(
            "submission.not_scored",
            expected="a scored submission",
            got=f"{submission.id}, which is {submission.state}",
            hint="Wait until its state is 'scored'.",
        )
    return {measurement.part: measurement for measurement in evaluation.measurements}


def usual_seconds(session: Session) -> float | None:
    """Return how long the last evaluations took on average; None before the first."""
    last = select(Evaluation.seconds).where(Evaluation.scored_at.is_not(None)).order_by(Evaluation.id.desc()).limit(20)
    return session.scalar(select(func.avg(last.subquery().c.seconds)))
