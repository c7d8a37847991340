"""Evaluations: taken from the queue, scored in a scoring process, and written down with everything that follows from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from app.benchmarks.catalog import version_folder
from app.db.base import now
from app.db.models import Evaluation, Kind, Measurement, State, Submission
from app.scoring import attributions, queue, rescoring
from app.submissions.files import discard_unreferenced, release_file
from app.submissions.lifecycle import move
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.scoring.sandbox.scorer import Scored, Scorer
    from app.submissions.storage import Storage

log = structlog.get_logger()


class Evaluator:
    """Does evaluations, one call at a time, safe to repeat: a result is written once, whatever was killed before.

    Parameters
    ----------
    retry_seconds
        How long an evaluation waits after its first failure.

    ``running`` are the ids of the evaluations that are being done.
    """

    def __init__(
        self, database: Database, storage: Storage, benchmarks: Path, scorer: Scorer, retry_seconds: float
    ) -> None:
        self._database = database
        self._storage = storage
        self._benchmarks = benchmarks
        self._scorer = scorer
        self._retry_seconds = retry_seconds
        self.running: set[int] = set()

    def work(self) -> bool:
        """Take the next evaluation that waits and do it; tell whether there was one."""
        with self._database.write() as session:
            evaluation_id = queue.claim(session)
            if evaluation_id is not None:
                self.running.add(evaluation_id)  # before others can see that it is taken
        if evaluation_id is None:
            return False
        try:
            self.evaluate(evaluation_id)
        except Exception:
            # Not even the failure could be written: back to the queue, so that no submission is stuck.
            with self._database.write() as session:
                queue.put_back(session, evaluation_id, "the outcome could not be written")
            raise
        finally:
            self.running.discard(evaluation_id)
        return True

    def evaluate(self, evaluation_id: int) -> None:
        """Score one claimed evaluation and write what came of it."""
        with self._database.read() as session:
            evaluation = session.get_one(Evaluation, evaluation_id)
            submission, version, claim = evaluation.submission, evaluation.version, _Claim.of(evaluation)
            first = submission.state != State.SCORED
            folder = version_folder(self._benchmarks, version.benchmark.name, version.version)
            scores = self._storage.path(str(submission.file_sha256))
            parts = ["public", "ranking"] if submission.kind == Kind.RANKED else ["public"]
        started = time.perf_counter()
        try:
            scored = self._scorer.score(folder, scores, parts)
            with self._database.write() as session:
                _write(session, claim, scored, time.perf_counter() - started)
        except ProblemError as error:
            if first:
                self._reject(submission.id, error.problem)
            else:
                self._fail(claim, error)  # it was taken before: that it cannot be scored now is ours to look into
            return
        except Exception as error:  # noqa: BLE001 -- whatever it was, it is ours: noted, logged and tried again
            self._fail(claim, error)
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

    def _fail(self, claim: _Claim, error: Exception) -> None:
        problem = Problem(
            "internal.failed",
            expected="a result",
            got=type(error).__name__,
            hint="Send the file again later; a failure of ours costs no quota.",
        )
        with self._database.write() as session:
            evaluation = claim.held(session)
            if evaluation is None:
                return
            submission_id, detail = evaluation.submission_id, repr(error)[:500]
            again = queue.postpone(evaluation, self._retry_seconds)
            failures = evaluation.failures
            if again:
                move(session, submission_id, State.SCORING, State.QUEUED, detail=detail)
            else:
                move(session, submission_id, State.SCORING, State.FAILED, detail=detail, error=problem.as_dict())
        log.error("submission.failed", submission=submission_id, failures=failures, exc_info=error)
        if not again:
            log.critical("alert", about="an evaluation was given up", submission=submission_id, evaluation=claim.id)


class _Claim(NamedTuple):
    """What was taken from the queue. Ids of deleted rows come again: whose it is and when it was taken tell it from another."""

    id: int
    submission_id: str
    claimed_at: datetime | None

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the claim to an evaluation."""
        return cls(evaluation.id, evaluation.submission_id, evaluation.claimed_at)

    def held(self, session: Session) -> Evaluation | None:
        """Return the evaluation, unless it is written, withdrawn or taken from us meanwhile."""
        found = session.get(Evaluation, self.id)
        if found is None or found.scored_at is not None or found.claimed_at is None or _Claim.of(found) != self:
            return None
        return found


def _write(session: Session, claim: _Claim, scored: dict[str, Scored], seconds: float) -> None:
    evaluation = claim.held(session)
    if evaluation is None:
        return
    first = move(session, evaluation.submission_id, State.SCORING, State.SCORED)
    if not first and evaluation.submission.state != State.SCORED:
        return
    evaluation.scored_at = now()
    evaluation.seconds = seconds
    for part, result in scored.items():
        session.add(
            Measurement(
                evaluation_id=evaluation.id,
                part=part,
                influence=result.influence.astype("<f8").tobytes(),
                per_target=result.per_target.astype("<f8").tobytes(),
                **result.numbers,
            )
        )
    session.flush()
    if (kept := scored["public"].attributions) is not None:
        attributions.keep(session, evaluation.id, kept)
    rescoring.queue_newer_versions(session, evaluation)
    if evaluation.submission.kind == Kind.RANKED or not first:
        rescoring.update_board(session, evaluation.version)
