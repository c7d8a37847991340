"""The evaluator: it claims an evaluation, has the file scored in a scoring process, and saves the result or the error."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from app.benchmarks.catalog import version_folder
from app.db.base import now
from app.db.models import Evaluation, Kind, Measurement, State, Submission, Version
from app.errors import DamagedFileError, LostFileError, StorageAwayError
from app.leaderboard.candidates import NewResult
from app.leaderboard.ranking import Ranker, Ranks, compute_ranks, store_ranks
from app.scoring import queue, rescoring, reserve, stored_attributions
from app.scoring.progress import ProgressRecord
from app.submissions.files import delete_unreferenced, release_file, unusable_file
from app.submissions.lifecycle import transition
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.db.tickets import Queue
    from app.scoring.sandbox.client import Sandbox
    from app.scoring.sandbox.part_results import PartResult
    from app.submissions.storage import Storage
    from ldsboard.problems import Problem

log = structlog.get_logger()


@dataclass
class Evaluator:
    """Claims and runs evaluations: one evaluation for each call of `evaluate_next`.

    An evaluation that was interrupted by a crash can run again without harm: a result is saved only if the evaluation has no
    result yet and has not been claimed anew since scoring began.

    Attributes
    ----------
    retry_seconds
        Seconds from the first failure of an evaluation to the first retry; `record_failure` lengthens the later waits.
    undisturbed
        Returns a context within which an evaluation runs, such as one that pauses the retraining of models.
    running
        The evaluations that are running in this process, as they were claimed, by id.
    """

    database: Database
    storage: Storage
    benchmarks: Path
    sandbox: Sandbox
    retry_seconds: float
    undisturbed: Callable[[], AbstractContextManager[None]] = nullcontext
    running: dict[int, Evaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ranker = Ranker(self.database)

    def evaluate_next(self, *queues: Queue, job: int | None = None) -> bool:
        """Claim and run the next evaluation; return False if no evaluation can be claimed now, otherwise True.

        While the store of score files is out of reach, no evaluation is claimed.

        If the result cannot be saved, the evaluation is requeued, and the error is raised. `queues` and `job` are those of
        `queue.claim`.
        """
        if self.storage.is_away():
            return False
        with self.database.write() as session:
            claimed = queue.claim(session, *queues, job=job)
            if claimed is not None:
                # Before the commit; otherwise recovery could requeue this evaluation.
                self.running[claimed.id] = claimed
        if claimed is None:
            return False
        log.info("evaluation.started", **_named(claimed))
        try:
            with self.undisturbed():
                self.evaluate(claimed)
        except Exception:
            # `evaluate` saves failures itself, and raises only if saving fails, for instance because the database is locked.
            self._requeue(claimed, "requeued: the outcome could not be saved")
            raise
        finally:
            self.running.pop(claimed.id, None)
        return True

    def release(self) -> None:
        """Requeue what this process is running, because the process ends; the results that still come are not saved."""
        for claimed in list(self.running.values()):
            self._requeue(claimed, "requeued: its worker was stopped")

    def _requeue(self, claimed: Evaluation, detail: str) -> None:
        with self.database.write() as session:
            if (evaluation := queue.held(session, claimed)) is not None:
                queue.requeue(session, evaluation, detail)

    def evaluate(self, claimed: Evaluation) -> None:
        """Score the file of a claimed evaluation; save the result, the rejection of the file, or the failure of the server.

        A result also renews the ranks of the board; those of a large board are renewed afterwards by `Ranker.renew_later`. A
        rejection deletes the file if no other submission refers to it. After a failure, the evaluation is retried unless it has
        failed too often, see `queue.record_failure`. Nothing is saved if the submission was withdrawn or the evaluation was
        requeued meanwhile.
        """
        with self.database.read() as session:
            evaluation = queue.held(session, claimed)
            if evaluation is None:
                _log_refusal(claimed, "not begun")
                return
            submission, version = evaluation.submission, evaluation.version
            is_first = submission.state != State.SCORED
            is_quick = self.ranker.is_quick(session, version)
            folder = version_folder(self.benchmarks, version.benchmark.name, version.version)
            parts = reserve.scored_parts(version) if submission.kind == Kind.RANKED else ["public"]
        started = time.perf_counter()
        try:
            # A rescoring changes nothing that is shown before it ends.
            report = ProgressRecord(self.database, evaluation).save if is_first else None
            with self.storage.local_file(str(submission.file_sha256)) as scores:
                scored = self.sandbox.score(folder, scores, parts, submission.file_sha256, report)
            can_rank = is_first and is_quick and submission.kind == Kind.RANKED
            ranks = self._rank_with(evaluation, scored) if can_rank else None
            with self.database.write() as session:
                is_saved = _save_result(session, evaluation, scored, ranks, time.perf_counter() - started)
        except StorageAwayError as error:
            self._postpone(evaluation, error)
            return
        except ProblemError as error:
            if is_first:
                self._reject(evaluation, error.problem)
            else:
                self._fail(evaluation, error)  # an earlier evaluation scored this file, so the server is at fault
            return
        except Exception as error:  # noqa: BLE001 -- any other error is a server error: saved, logged and retried
            self._fail(evaluation, error)
            return
        if not is_saved:
            _log_refusal(evaluation, "scored")
            return
        if is_quick:
            self.ranker.renew([version.id])
        else:
            self.ranker.renew_later(version.id)
        reserve.warn_if_flagged(submission, scored)
        log.info("submission.scored", submission=submission.id, seconds=round(time.perf_counter() - started, 3))

    def _rank_with(self, evaluation: Evaluation, scored: dict[str, PartResult]) -> Ranks:
        """Return the ranks that all entries of the board will have once a new result is saved; save nothing.

        Because the ranks are computed in advance, one short transaction can save both the result and the ranks.
        """
        found = scored["ranking"]
        new = NewResult(
            evaluation.submission,
            evaluation.id,
            lds=found.numbers["lds"],
            std_error=found.numbers["std_error"],
            z_random=found.numbers["z_random"],
            p_random=found.numbers["p_random"],
            influence=found.influence.astype("<f8").tobytes(),
            per_target=found.per_target.astype("<f8").tobytes(),
        )
        with self.database.read() as session:
            return compute_ranks(session, session.get_one(Version, evaluation.version_id), new)

    def _reject(self, claimed: Evaluation, problem: Problem) -> None:
        submission_id = claimed.submission_id
        with self.database.write() as session:
            if (evaluation := queue.held(session, claimed)) is None:
                _log_refusal(claimed, "rejected")
                return
            evaluation.percent = None
            error = problem.as_dict()
            if not transition(session, submission_id, State.SCORING, State.REJECTED, detail=problem.code, error=error):
                return
            orphan = release_file(session, session.get_one(Submission, submission_id))
        if orphan is not None:
            delete_unreferenced(self.database, self.storage, [orphan])
        log.info("submission.rejected", submission=submission_id, code=problem.code)

    def _postpone(self, claimed: Evaluation, error: StorageAwayError) -> None:
        """Requeue an evaluation whose file could not be fetched; the outage uses up none of its attempts.

        If the store answers other calls, only this file cannot be fetched, and this counts as a failure.
        """
        if not self.storage.is_away():
            self._fail(claimed, error)
            return
        self._requeue(claimed, "requeued: the store of score files is out of reach")

    def _fail(self, claimed: Evaluation, error: Exception) -> None:
        if isinstance(error, (DamagedFileError, LostFileError)):
            problem = unusable_file("damaged" if isinstance(error, DamagedFileError) else "lost")
        else:
            problem = queue.failure(f"The evaluation failed with {type(error).__name__}.")
        with self.database.write() as session:
            evaluation = queue.held(session, claimed)
            if evaluation is None:
                _log_refusal(claimed, "failed")
                return
            will_retry = queue.record_failure(session, evaluation, self.retry_seconds)
            after, shown = (State.QUEUED, None) if will_retry else (State.FAILED, problem.as_dict())
            transition(session, evaluation.submission_id, State.SCORING, after, detail=repr(error)[:500], error=shown)
            failures = evaluation.failures
        log.error("submission.failed", **_named(claimed), failures=failures, exc_info=error)
        if not will_retry:
            queue.alert_failure(claimed)


def _named(claimed: Evaluation) -> dict[str, object]:
    """Return what names an evaluation and its worker in the log."""
    return {"submission": claimed.submission_id, "evaluation": claimed.id, "worker": claimed.worker}


def _log_refusal(claimed: Evaluation, outcome: str) -> None:
    """Log that the outcome of an evaluation is not saved: it was requeued or claimed anew, or its submission is gone."""
    about = "nothing was saved, because this worker no longer holds the evaluation"
    log.warning("evaluation.refused", about=about, outcome=outcome, **_named(claimed))


def _save_result(
    session: Session, claimed: Evaluation, scored: dict[str, PartResult], ranks: Ranks | None, seconds: float
) -> bool:
    """Save the result of an evaluation; return False if the evaluation is no longer held, so that nothing is saved."""
    evaluation = queue.held(session, claimed)
    if evaluation is None:
        return False
    is_first = transition(session, evaluation.submission_id, State.SCORING, State.SCORED)
    if not is_first and evaluation.submission.state != State.SCORED:
        return False
    evaluation.scored_at, evaluation.percent = now(), None
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
    if evaluation.submission.kind == Kind.RANKED:
        rescoring.queue_newer_versions(session, evaluation.version, [evaluation.submission_id])
    if evaluation.submission.kind == Kind.RANKED or not is_first:
        version = evaluation.version
        unchanged = ranks is not None and version.board_revision == ranks.revision
        rescoring.update_board(session, version)
        if ranks is not None and unchanged and version.scorer_version == evaluation.scorer_version:
            store_ranks(session, version, ranks._replace(revision=version.board_revision))
    return True
