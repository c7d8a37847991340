"""Consistency checks: find and repair disagreements between database rows and files of the data folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.benchmarks.catalog import version_folder
from app.db.models import Evaluation, File, Kind, State, Submission, Version
from app.leaderboard.ranking import is_ranked, update_ranks
from app.submissions import multipart
from app.submissions.lifecycle import transition
from ldsboard.bundle import Bundle
from ldsboard.core import result
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.submissions.storage import Storage

LIVE = (State.QUEUED, State.SCORING, State.SCORED)
"""States in which a submission must have an evaluation."""


@dataclass(frozen=True)
class Finding:
    """An inconsistency, and the function that repairs it; None if it cannot be repaired."""

    message: str
    repair: Callable[[], object] | None = None


def inspect(session: Session, storage: Storage, benchmarks: Path) -> Iterator[Finding]:
    """Run all checks and yield the findings.

    To repair, call `Finding.repair` before taking the next finding, in a write session, while no server runs.
    """
    yield from inspect_benchmarks(session, benchmarks)
    yield from inspect_submissions(session, storage)


def inspect_submissions(session: Session, storage: Storage) -> Iterator[Finding]:
    """Run all checks except `inspect_benchmarks`, which takes longer than all others."""
    yield from _find_wrong_reference_counts(session)
    yield from _find_missing_files(session, storage)
    yield from _find_stray_files(session, storage)
    yield from _find_missing_evaluations(session)
    yield from _find_missing_ranks(session)


def inspect_benchmarks(session: Session, root: Path) -> Iterator[Finding]:
    """Verify the files of all published benchmarks by their hashes."""
    for version in session.scalars(select(Version).order_by(Version.id)):
        try:
            Bundle.open(version_folder(root, version.benchmark.name, version.version))
        except (ValueError, OSError) as error:
            yield Finding(
                f"{version.benchmark.name} version {version.version} cannot be read: {error} Restore its folder from a backup."
            )


def _find_wrong_reference_counts(session: Session) -> Iterator[Finding]:
    """Compare the reference count of each file with the number of submissions that refer to the file."""
    counted = Counter(session.scalars(select(Submission.file_sha256).where(Submission.file_sha256.is_not(None))))
    for file in session.scalars(select(File)).all():
        count = counted[file.sha256]
        if count == 0:
            yield Finding(f"no submission refers to file {file.sha256}", partial(session.delete, file))
        elif count != file.references:
            message = f"file {file.sha256} has a reference count of {file.references} instead of {count}"
            yield Finding(message, partial(setattr, file, "references", count))


def _find_missing_files(session: Session, storage: Storage) -> Iterator[Finding]:
    """Find submissions whose stored file is missing or has the wrong size."""
    query = select(Submission, File).join(File, File.sha256 == Submission.file_sha256)
    for submission, file in session.execute(query.order_by(Submission.created_at)).all():
        path = storage.path(file.sha256)
        if path.exists() and path.stat().st_size == file.size:
            continue
        name = f"the file of submission {submission.id}"
        if submission.state == State.SCORED:
            yield Finding(f"{name} is lost: its results stay, but it cannot be scored again")
        else:
            yield Finding(f"{name}, which is {submission.state}, is lost", partial(_mark_failed, session, submission))


def _mark_failed(session: Session, submission: Submission) -> None:
    problem = Problem("internal.failed", "The stored file is lost.", "Send the file again; a lost file does not count.")
    if submission.state == State.QUEUED:
        transition(session, submission.id, State.QUEUED, State.SCORING, detail="found by doctor")
    transition(session, submission.id, State.SCORING, State.FAILED, detail="file lost", error=problem.as_dict())


def _find_stray_files(session: Session, storage: Storage) -> Iterator[Finding]:
    """Find stored files without a row, and stored parts of uploads that are completed, expired or unknown."""
    known = set(session.scalars(select(File.sha256)))
    for sha256 in sorted(set(storage.stored_hashes()) - known):
        yield Finding(f"the stored file {sha256} has no row", partial(storage.delete, sha256))
    for upload in sorted(set(storage.upload_ids()) - multipart.open_upload_ids(session)):
        yield Finding(f"parts of the ended upload {upload} are stored", partial(storage.delete_parts, upload))


def _find_missing_evaluations(session: Session) -> Iterator[Finding]:
    """Find queued and running submissions without an unfinished evaluation, and scored submissions without results."""
    for submission in session.scalars(select(Submission).where(Submission.state.in_(LIVE))).all():
        evaluations = submission.evaluations
        if submission.state == State.SCORED:
            finished = [evaluation for evaluation in evaluations if evaluation.scored_at is not None]
            needed = {"public", "ranking"} if submission.kind == Kind.RANKED else {"public"}
            if not any(evaluation.parts.keys() >= needed for evaluation in finished):
                yield Finding(f"submission {submission.id} is scored, but has no results")
        elif not any(evaluation.scored_at is None for evaluation in evaluations):
            message = f"submission {submission.id} is {submission.state}, but has no unfinished evaluation"
            yield Finding(message, partial(_queue_evaluation, session, submission))


def _queue_evaluation(session: Session, submission: Submission) -> None:
    session.add(
        Evaluation(submission_id=submission.id, version_id=submission.version_id, scorer_version=result.SCORER_VERSION)
    )


def _find_missing_ranks(session: Session) -> Iterator[Finding]:
    """Find boards with entries that have no rank."""
    for version in session.scalars(select(Version)).all():
        if not is_ranked(session, version):
            message = f"{version.benchmark.name} version {version.version} has entries without a rank"
            yield Finding(message, partial(update_ranks, session, version))
