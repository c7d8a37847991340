"""The evaluator: claims evaluations, has them scored in a scoring process, and saves results, rejections and failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from app.benchmarks.catalog import version_folder
from app.db.base import now
from app.db.models import Evaluation, Kind, Measurement, State, Submission
from app.scoring import queue, rescoring, stored_attributions
from app.submissions.files import delete_unreferenced, release_file
from app.submissions.lifecycle import transition
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.scoring.sandbox.client import PartResult, Sandbox
    from app.submissions.storage import Storage

log = structlog.get_logger()


class Evaluator:
    """Runs evaluations, one per call. Repeating an evaluation after a crash is safe, because its result is saved at most once.

    Parameters
    ----------
    retry_seconds
        How long an evaluation waits after its first failure.

    Attributes
    ----------
    running
        Ids of the evaluations that are running in this process.
    """

    def __init__(
        self, database: Database, storage: Storage, benchmarks: Path, sandbox: Sandbox, retry_seconds: float
    ) -> None:
        self._database = database
        self._storage = storage
        self._benchmarks = benchmarks
        self._sandbox = sandbox
        self._retry_seconds = retry_seconds
        self.running: set[int] = set()

    def evaluate_next(self) -> bool:
        """Claim and run the next evaluation; return False if the queue is empty."""
        with self._database.write() as session:
            evaluation_id = queue.claim(session)
            if evaluation_id is not None:
                self.running.add(evaluation_id)  # before the commit, or recovery could requeue the claimed evaluation
        if evaluation_id is None:
            return False
        try:
            self.evaluate(evaluation_id)
        except Exception:
            # Saving the failure failed too, for instance because the database was locked.
            with self._database.write() as session:
                queue.requeue(session, evaluation_id, "requeued: the outcome could not be saved")
            raise
        finally:
            self.running.discard(evaluation_id)
        return True

    def evaluate(self, evaluation_id: int) -> None:
        """Score one claimed evaluation and save its result, rejection or failure."""
        with self._database.read() as session:
            evaluation = session.get_one(Evaluation, evaluation_id)
            submission, version, claim = evaluation.submission, evaluation.version, _Claim.of(evaluation)
            is_first = submission.state != State.SCORED
            folder = version_folder(self._benchmarks, version.benchmark.name, version.version)
            scores = self._storage.path(str(submission.file_sha256))
            parts = ["public", "ranking"] if submission.kind == Kind.RANKED else ["public"]
        started = time.perf_counter()
        try:
            scored = self._sandbox.score(folder, scores, parts)
            with self._database.write() as session:
                _save_result(session, claim, scored, time.perf_counter() - started)
        except ProblemError as error:
            if is_first:
                self._reject(submission.id, error.problem)
            else:
                self._fail(claim, error)  # the file was scored before, so the server is at fault
            return
        except Exception as error:  # noqa: BLE001 -- any other error is a server error: saved, logged and retried
            self._fail(claim, error)
            return
        log.info("submission.scored", submission=submission.id, seconds=round(time.perf_counter() - started, 3))

    def _reject(self, submission_id: str, problem: Problem) -> None:
        with self._database.write() as session:
            if not transition(
                session, submission_id, State.SCORING, State.REJECTED, detail=problem.code, error=problem.as_dict()
            ):
                return
            orphan = release_file(session, session.get_one(Submission, submission_id))
        if orphan is not None:
            # After the commit, so that a kill in between cannot delete a file that a row still refers to; in a transaction, so
            # that no other submission can start to refer to the same content meanwhile.
            with self._database.write() as session:
                delete_unreferenced(session, self._storage, [orphan])
        log.info("submission.rejected", submission=submission_id, code=problem.code)

    def _fail(self, claim: _Claim, error: Exception) -> None:
        problem = Problem(
            "internal.failed",
            f"The evaluation failed with {type(error).__name__}.",
            "Send the file again later; a failed evaluation does not count.",
        )
        with self._database.write() as session:
            evaluation = claim.held_evaluation(session)
            if evaluation is None:
                return
            submission_id, detail = evaluation.submission_id, repr(error)[:500]
            will_retry = queue.record_failure(evaluation, self._retry_seconds)
            failures = evaluation.failures
            if will_retry:
                transition(session, submission_id, State.SCORING, State.QUEUED, detail=detail)
            else:
                transition(session, submission_id, State.SCORING, State.FAILED, detail=detail, error=problem.as_dict())
        log.error("submission.failed", submission=submission_id, failures=failures, exc_info=error)
        if not will_retry:
            log.critical(
                "alert", about="an evaluation failed permanently", submission=submission_id, evaluation=claim.id
            )


class _Claim(NamedTuple):
    """A claim of an evaluation. SQLite reuses row ids, so submission id and claim time are compared too."""

    id: int
    submission_id: str
    claimed_at: datetime | None

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the current claim of an evaluation."""
        return cls(evaluation.id, evaluation.submission_id, evaluation.claimed_at)

    def held_evaluation(self, session: Session) -> Evaluation | None:
        """Return the evaluation; None if it was scored, withdrawn or requeued since it was claimed."""
        found = session.get(Evaluation, self.id)
        if found is None or found.scored_at is not None or found.claimed_at is None or _Claim.of(found) != self:
            return None
        return found


def _save_result(session: Session, claim: _Claim, scored: dict[str, PartResult], seconds: float) -> None:
    evaluation = claim.held_evaluation(session)
    if evaluation is None:
        return
    is_first = transition(session, evaluation.submission_id, State.SCORING, State.SCORED)
    if not is_first and evaluation.submission.state != State.SCORED:
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
    if (found := scored["public"].attributions) is not None:
        stored_attributions.save(session, evaluation.id, found)
    rescoring.queue_newer_versions(session, evaluation)
    if evaluation.submission.kind == Kind.RANKED or not is_first:
        rescoring.update_board(session, evaluation.version)
