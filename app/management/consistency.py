"""Consistency checks: find and repair faults of database rows and of files in the data folder that contradict each other."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from app.accounts.webhooks import end_waiting
from app.benchmarks.catalog import version_folder
from app.db.models import FINAL, Evaluation, File, Kind, State, Submission, Version
from app.db.tickets import Queue, note_ticket
from app.db.webhooks import CallState, Webhook, WebhookCall
from app.leaderboard.ranking import is_ranked, update_ranks
from app.leaderboard.stored_snapshots import REMOVAL, delete_removed, find_faults
from app.management.damage import find_altered, is_altered, open_parts, part_key, stated_hashes, verify_benchmark
from app.submissions import multipart
from app.submissions.files import unusable_file
from app.submissions.lifecycle import transition
from ldsboard.bundle import Bundle
from ldsboard.core import result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.submissions.storage import Storage

LIVE = (State.QUEUED, State.SCORING, State.SCORED)
"""States in which a submission must have an evaluation."""


@dataclass(frozen=True)
class Finding:
    """An inconsistency. ``repair`` is the function that repairs the inconsistency; None if no repair is possible.

    ``is_stray`` says that it is a stored file, or upload parts, to which no row refers.
    """

    message: str
    repair: Callable[[], object] | None = None
    is_stray: bool = False


def inspect(session: Session, storage: Storage, benchmarks: Path, *, quick: bool = False) -> Iterator[Finding]:
    """Run the checks one after the other, and yield the findings. `inspect_snapshots` is not among these checks.

    With `quick`, missing files are still found, but the hashes of score files and upload parts and the checks of
    `verify_benchmark` are left out.

    To repair, pass a write session as `session`, and call `Finding.repair` while no server runs. Repair each finding before
    taking the next finding, because later checks rely on the earlier repairs. This function itself repairs nothing.
    """
    yield from inspect_benchmarks(session, benchmarks, quick=quick)
    altered = set() if quick else find_altered(storage, stated_hashes(session, storage))
    yield from inspect_submissions(session, storage, altered)
    yield from _find_stuck_calls(session)


def inspect_submissions(session: Session, storage: Storage, altered: AbstractSet[str]) -> Iterator[Finding]:
    """Find inconsistencies of submissions, evaluations, files, upload parts and ranks, in an order that suits repairs.

    `altered` holds the keys of the damaged files, as `find_altered` returns them.
    """
    yield from _find_wrong_reference_counts(session)
    yield from _find_lost_files(session, storage, altered)
    yield from _find_damaged_parts(session, storage, altered)
    yield from _find_stray_files(session, storage)
    yield from _find_missing_evaluations(session)
    yield from _find_missing_ranks(session)


def inspect_benchmarks(session: Session, root: Path, *, quick: bool) -> Iterator[Finding]:
    """Find published versions whose files are missing or damaged; these findings have no repair.

    `quick` leaves out the checks of `verify_benchmark`.
    """
    for version in session.scalars(select(Version).order_by(Version.id)):
        try:
            bundle = Bundle.open(version_folder(root, version.benchmark.name, version.version))
            if not quick:
                verify_benchmark(bundle, version.manifest, version.reserve_subsets)
        except (ValueError, OSError) as error:
            yield Finding(
                f"{version.benchmark.name} version {version.version} cannot be read: {error} "
                "Restore the folder of this version from a backup."
            )


def inspect_snapshots(root: Path, *, quick: bool) -> Iterator[Finding]:
    """Find unfinished and half removed snapshots, whose repair deletes files, and damaged snapshots, which have no repair.

    `quick` leaves out the comparison of bytes and hashes.
    """
    for folder in sorted(root.glob("*/*/*")):
        name = "snapshot " + " ".join(folder.parts[-3:])
        if folder.name.startswith("."):
            yield Finding(f"{name} was not written completely", partial(shutil.rmtree, folder))
        elif (folder / REMOVAL).exists():
            if len(list(folder.iterdir())) > 1:
                yield Finding(f"{name} is removed, but has files", partial(delete_removed, folder))
        else:
            for fault in find_faults(folder, quick=quick):
                yield Finding(f"{name}: {fault}. Restore the folder of this snapshot from a backup or an archive.")


def _find_wrong_reference_counts(session: Session) -> Iterator[Finding]:
    """Find files whose reference count differs from the number of submissions that refer to the file."""
    counted = Counter(session.scalars(select(Submission.file_sha256).where(Submission.file_sha256.is_not(None))))
    for file in session.scalars(select(File)).all():
        count = counted[file.sha256]
        if count == 0:
            yield Finding(f"no submission refers to file {file.sha256}", partial(session.delete, file))
        elif count != file.references:
            message = f"file {file.sha256} has a reference count of {file.references} instead of {count}"
            yield Finding(message, partial(setattr, file, "references", count))


def _find_lost_files(session: Session, storage: Storage, altered: AbstractSet[str]) -> Iterator[Finding]:
    """Find submissions whose stored file is missing, has the wrong size, or is damaged; a repair marks the submission as failed.

    There is no repair for a submission in a state of `FINAL`.
    """
    query = select(Submission, File).join(File, File.sha256 == Submission.file_sha256)
    found = session.execute(query.order_by(Submission.created_at)).all()
    sizes = storage.sizes({file.sha256 for _, file in found})
    for submission, file in found:
        is_complete = sizes.get(file.sha256) == file.size
        if is_complete and storage.key(file.sha256) not in altered:
            continue
        name, fault = f"the file of submission {submission.id}", "damaged" if is_complete else "lost"
        if submission.state in FINAL:
            results = "the results stay, but " if submission.state == State.SCORED else ""
            yield Finding(f"{name} is {fault}: {results}the submission cannot be scored again")
        else:
            repair = partial(_mark_failed, session, submission, fault)
            yield Finding(f"{name} is {fault}, and the submission is {submission.state}", repair)


def _mark_failed(session: Session, submission: Submission, fault: str) -> None:
    problem = unusable_file(fault)
    if submission.state == State.QUEUED:
        transition(session, submission.id, State.QUEUED, State.SCORING, detail=f"doctor found a {fault} file")
    transition(session, submission.id, State.SCORING, State.FAILED, detail=f"file {fault}", error=problem.as_dict())


def _find_damaged_parts(session: Session, storage: Storage, altered: AbstractSet[str]) -> Iterator[Finding]:
    """Find damaged upload parts. The repair deletes the database row of a part, so that the client sends the part again."""
    for part in open_parts(session):
        key = part_key(storage, part)
        # A client may have replaced the part, and its hash, after `altered` was computed.
        if key in altered and is_altered(storage, key, part.sha256):
            message = f"upload part {part.number} of the upload {part.submission_id} is damaged"
            yield Finding(message, partial(session.delete, part))


def _find_stray_files(session: Session, storage: Storage) -> Iterator[Finding]:
    """Find stored files without a database row, and stored upload parts of uploads that are completed, expired or unknown."""
    known = set(session.scalars(select(File.sha256)))
    for sha256 in sorted(set(storage.stored_hashes()) - known):
        yield Finding(f"the stored file {sha256} has no database row", partial(storage.delete, sha256), is_stray=True)
    for upload in sorted(set(storage.upload_ids()) - multipart.open_upload_ids(session)):
        message = f"upload parts of the ended upload {upload} are still stored"
        yield Finding(message, partial(storage.delete_parts, upload), is_stray=True)


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
    note_ticket(session, Queue.SCORING)


def _find_stuck_calls(session: Session) -> Iterator[Finding]:
    """Find disabled webhooks with waiting calls, which nobody will make."""
    waiting = exists().where(WebhookCall.webhook_id == Webhook.id, WebhookCall.state == CallState.WAITING)
    for webhook_id in session.scalars(select(Webhook.id).where(Webhook.disabled_at.is_not(None), waiting)).all():
        message = f"webhook {webhook_id} is disabled, but calls of it wait"
        yield Finding(message, partial(end_waiting, session, webhook_id))


def _find_missing_ranks(session: Session) -> Iterator[Finding]:
    """Find boards with entries that have no rank or an outdated rank."""
    for version in session.scalars(select(Version)).all():
        if not is_ranked(session, version):
            message = f"{version.benchmark.name} version {version.version} has entries without a current rank"
            yield Finding(message, partial(update_ranks, session, version))
