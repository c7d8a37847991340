"""Expired uploads lose their parts; open uploads keep them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from app.db.accounts import User
from app.db.models import Benchmark, Kind, State, Submission, Version
from app.db.uploads import Upload
from app.management.recovery import expire_multipart_uploads
from app.submissions import multipart
from app.submissions.folder_storage import FolderStorage

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database


class UploadStartingStorage(FolderStorage):
    """A storage in which an upload starts while its uploads are listed."""

    database: Database
    started_id: str

    def upload_ids(self) -> list[str]:
        """Start another upload and receive its first part, then list the uploads."""
        self.started_id = start_upload(self.database, self, timedelta(hours=1))
        return super().upload_ids()


def start_upload(database: Database, storage: FolderStorage, lifetime: timedelta) -> str:
    """Start a multipart upload that expires after `lifetime`, and receive its first part."""
    with database.write() as session, storage.receive() as arrival:
        user = session.get(User, 1) or User(name="ann")
        version = session.get(Version, 1) or Version(
            benchmark=Benchmark(name="toy", current_version=1), version=1, manifest={}, scorer_version=1
        )
        submission = Submission(user=user, version=version, kind=Kind.RANKED, method="m", title="m", size=3)
        session.add(submission)
        session.flush()
        multipart.open_upload(session, submission, "0" * 64, 1, timedelta(hours=1))
        upload = session.get_one(Upload, submission.id)
        arrival.write(b"x")
        arrival.flush()
        multipart.receive_part(session, storage, upload, 0, arrival)
        upload.expires_at += lifetime - timedelta(hours=1)
        return submission.id


def state(database: Database, submission_id: str) -> str:
    with database.read() as session:
        return session.get_one(Submission, submission_id).state


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "files")


def test_only_uploads_past_their_deadline_expire(database: Database, storage: FolderStorage) -> None:
    over, going = start_upload(database, storage, timedelta(0)), start_upload(database, storage, timedelta(minutes=1))
    expire_multipart_uploads(database, storage)
    assert (state(database, over), state(database, going)) == (State.EXPIRED, State.UPLOADING)
    assert storage.upload_ids() == [going]


def test_parts_of_a_completed_upload_are_deleted(database: Database, storage: FolderStorage) -> None:
    completed = start_upload(database, storage, timedelta(hours=1))
    with database.write() as session:
        session.get_one(Submission, completed).state = State.QUEUED
    expire_multipart_uploads(database, storage)
    assert storage.upload_ids() == []


def test_upload_started_during_the_cleanup_keeps_its_parts(database: Database, tmp_path: Path) -> None:
    storage = UploadStartingStorage(tmp_path / "files")
    storage.database = database
    expire_multipart_uploads(database, storage)
    assert storage.part_path(storage.started_id, 0).exists()
