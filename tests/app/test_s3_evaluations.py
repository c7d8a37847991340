"""Evaluations and clean-ups with score files in an S3-compatible store: outages, lost files, damaged files and leftovers."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import select

from app.api.multipart_upload import _receive_part
from app.api.responses import accept_file
from app.db.models import Evaluation, State, Submission
from app.db.uploads import Upload
from app.errors import StorageAwayError
from app.management import recovery
from app.management.consistency import inspect
from app.scoring.queue import MAX_FAILURES
from app.settings import Settings
from app.submissions import multipart
from app.submissions.files import delete_undeleted, delete_unreferenced
from app.submissions.s3_storage import S3Storage
from tests.app.harness import ServiceHarness
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.context import AppContext
    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift


@pytest.fixture
def harness(database: Database, tmp_path: Path, toy: Example, swift: Swift) -> Iterator[ServiceHarness]:
    storage = S3Storage(Settings(data_dir=tmp_path / "data", **swift.settings("")), "scores", tmp_path.name)
    opened = ServiceHarness(database, tmp_path, toy, storage)
    yield opened
    opened.sandbox.stop()
    swift.start()


def sha256(harness: ServiceHarness, submission_id: str) -> str:
    with harness.database.read() as session:
        return str(session.get_one(Submission, submission_id).file_sha256)


def failures(harness: ServiceHarness) -> int:
    with harness.database.read() as session:
        return session.scalars(select(Evaluation.failures)).one()


def findings(harness: ServiceHarness, *, repair: bool = False) -> list[str]:
    with harness.database.write() as session:
        messages = []
        for finding in inspect(session, harness.storage, harness.benchmarks):
            messages.append(finding.message)
            if repair and finding.repair is not None:
                finding.repair()
                session.flush()
        return messages


def test_outage_uses_up_none_of_the_attempts_of_an_evaluation(
    harness: ServiceHarness, toy: Example, swift: Swift
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    swift.kill()
    assert harness.evaluator.evaluate_next()
    for _ in range(2):
        assert (harness.state(submission_id), failures(harness)) == (State.QUEUED, 0)
        assert not harness.evaluator.evaluate_next()  # nothing is claimed while the store is away
    swift.start()
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), failures(harness)) == (State.SCORED, 0)


def test_file_that_alone_cannot_be_fetched_uses_up_the_attempts(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = harness.accept(npy(toy.scores()))

    def refuse(_key: str) -> Any:
        raise StorageAwayError("AccessDenied")

    monkeypatch.setattr(harness.storage, "_read", refuse)
    for count in range(1, MAX_FAILURES + 1):
        assert harness.evaluator.evaluate_next()
        assert failures(harness) == count
    assert harness.state(submission_id) == State.FAILED
    assert not harness.evaluator.evaluate_next()


@pytest.mark.parametrize("fault", ["lost", "damaged"])
def test_lost_or_damaged_object_is_found_by_doctor_and_by_the_evaluation(
    harness: ServiceHarness, toy: Example, fault: str
) -> None:
    content = npy(toy.scores())
    submission_id = harness.accept(content)
    assert findings(harness) == []
    stated = sha256(harness, submission_id)
    if fault == "lost":
        harness.storage.delete(stated)
    else:
        with harness.storage.receive() as arrival:
            arrival.write(content[:-1] + b"!")
            arrival.flush()
            cast("Any", harness.storage)._send(harness.storage.key(stated), arrival)
    assert findings(harness) == [f"the file of submission {submission_id} is {fault}, and the submission is queued"]
    for _ in range(MAX_FAILURES):
        assert harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.FAILED
    with harness.database.read() as session:
        error = session.get_one(Submission, submission_id).error
    assert error is not None
    assert error["detail"] == f"The stored file is {fault}."


def test_object_that_the_list_of_the_store_lacks_is_not_lost(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.accept(npy(toy.scores()))
    monkeypatch.setattr(harness.storage, "_list", lambda prefix=None: iter(()))  # noqa: ARG005 -- named by the caller
    assert findings(harness) == []


def test_orphans_are_found_and_deleted(harness: ServiceHarness, toy: Example) -> None:
    kept = sha256(harness, harness.accept(npy(toy.scores())))
    with harness.storage.receive() as arrival:
        arrival.write(b"orphan")
        arrival.flush()
        harness.storage.send(arrival)
        harness.storage.send_part("ended", 0, arrival)
        orphan = arrival.sha256
    expected = [
        f"the stored file {orphan} has no database row",
        "upload parts of the ended upload ended are still stored",
    ]
    assert findings(harness, repair=True) == expected
    assert findings(harness) == []
    assert harness.storage.stored_hashes() == [kept]


def test_files_whose_deletion_failed_are_deleted_when_the_store_is_back(
    harness: ServiceHarness, toy: Example, swift: Swift
) -> None:
    withdrawn, other = (harness.accept(npy(toy.scores(seed=seed)), f"method-{seed}") for seed in range(2))
    hashes = [sha256(harness, each) for each in (withdrawn, other)]
    swift.kill()
    with harness.database.write() as session:
        harness.withdraw(session, withdrawn)
    delete_unreferenced(harness.database, harness.storage, hashes[:1])
    harness.storage.delete_files(hashes[1:])  # as after an upload that failed; another submission has the file by now
    delete_undeleted(harness.database, harness.storage)
    swift.start()
    assert sorted(harness.storage.stored_hashes()) == sorted(hashes)
    delete_undeleted(harness.database, harness.storage)
    assert harness.storage.stored_hashes() == hashes[1:]
    assert harness.storage.take_undeleted() == []


def test_next_start_deletes_what_nobody_refers_to(harness: ServiceHarness, toy: Example) -> None:
    kept = sha256(harness, harness.accept(npy(toy.scores())))
    with harness.storage.receive() as orphan:
        orphan.write(b"orphan")
        orphan.flush()
        harness.storage.send(orphan)
    left = harness.storage.scratch / "left"
    left.write_bytes(b"incomplete")
    with harness.storage.receive() as arrival:
        recovery.recover_at_start(harness.database, harness.storage, harness.presence)
        assert list(harness.storage.scratch.iterdir()) == [arrival.path]
    assert harness.storage.stored_hashes() == [kept]


def test_parts_of_an_ended_upload_are_deleted_and_damaged_parts_are_asked_for_again(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(2)
    with harness.database.write() as session, harness.storage.receive() as arrival:
        multipart.open_upload(session, session.get_one(Submission, submission_id), "0" * 64, 1, timedelta(hours=1))
        arrival.write(b"x")
        arrival.flush()
        upload = session.get_one(Upload, submission_id)
        multipart.receive_part(session, harness.storage, upload, 0, arrival)
    recovery.expire_multipart_uploads(harness.database, harness.storage)
    assert harness.storage.upload_ids() == [submission_id]
    assert findings(harness) == []
    with harness.storage.receive() as other:
        other.write(b"y")
        other.flush()
        cast("Any", harness.storage)._send(harness.storage.part_key(submission_id, 0, arrival.sha256), other)
    assert findings(harness, repair=True) == [f"upload part 0 of the upload {submission_id} is damaged"]
    with harness.database.write() as session:
        multipart.cancel(session, submission_id, "cancelled")
    recovery.expire_multipart_uploads(harness.database, harness.storage)
    assert harness.storage.upload_ids() == []


def test_parts_are_sent_before_the_transaction(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    context = cast("AppContext", SimpleNamespace(storage=harness.storage, database=harness.database))
    submission_id = harness.reserve(2)
    with harness.database.write() as session:
        multipart.open_upload(session, session.get_one(Submission, submission_id), "0" * 64, 1, timedelta(hours=1))
        upload = session.get_one(Upload, submission_id)
        assert upload.submission.size == 2
    kept = []
    monkeypatch.setattr(harness.storage, "keep_part", lambda *part: kept.append(part[-1].sent_as))
    with harness.storage.receive() as arrival:
        arrival.write(b"x")
        arrival.flush()
        _receive_part(context, upload, 1, arrival)
    assert kept == [harness.storage.part_key(submission_id, 1, arrival.sha256)]


def test_file_that_is_not_accepted_is_deleted_unless_it_is_in_use(harness: ServiceHarness, toy: Example) -> None:
    context = cast("AppContext", SimpleNamespace(storage=harness.storage, database=harness.database))
    used = sha256(harness, harness.accept(npy(toy.scores())))

    def refuse(content: bytes) -> None:
        with harness.storage.receive() as arrival:
            arrival.write(content)
            arrival.flush()
            with accept_file(context, arrival):
                assert arrival.sha256 in harness.storage.stored_hashes()
                raise RuntimeError("refused")

    for content in (npy(toy.scores()), npy(toy.scores(seed=1))):
        with pytest.raises(RuntimeError, match="refused"):
            refuse(content)
    assert harness.storage.stored_hashes() == [used]
