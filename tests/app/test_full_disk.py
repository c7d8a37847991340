"""A full disk: the server returns 507, and saves and counts nothing."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine

from app.accounts import users
from app.accounts.quotas import Quotas
from app.benchmarks import catalog
from app.db.models import Kind
from app.db.uploads import Upload
from app.submissions import lifecycle, multipart
from app.submissions.fields import SubmissionRequest
from app.submissions.folder_storage import FolderStorage
from app.web import problem_responses
from app.web.request_ids import RequestIds
from ldsboard import ProblemError
from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.event_loop import run_in_loop
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import PATIENCE_SECONDS, Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A server that must keep more bytes free than its disk has."""
    with Service(tmp_path_factory.mktemp("service"), spare_bytes=2**62) as running:
        running.publish(toy.folder)
        yield running


def test_upload_is_rejected_before_reading_when_the_disk_is_full(service: Service, toy: Example) -> None:
    token = service.token("ann", ranked_per_day=1)
    content = npy(toy.scores())
    rows, files = service.rows()["submission"], service.files()
    answers = [
        service.submit(token, "toy", content),
        service.submit(token, "toy", content, dry_run="true"),
        MultipartUpload(service, token, "toy", content).start(),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (507, "internal.full")
    assert service.files() == files
    assert service.rows()["submission"] == rows


def test_part_and_completion_are_rejected_when_the_disk_is_full(service: Service, toy: Example) -> None:
    token = service.token("ben")
    upload = MultipartUpload(service, token, "toy", npy(toy.scores()))
    storage = FolderStorage(service.settings.storage_dir)
    with service.database.write() as session, storage.receive() as arrival:
        account = users.authenticate(session, f"Bearer {token}")
        entry = SubmissionRequest(benchmark="toy", method="ours", kind=Kind.PRACTICE, size=len(upload.content))
        version = catalog.find_version(session, "toy")
        submission = lifecycle.reserve(session, account.id, version, entry, Quotas(1, 1))
        upload_token = multipart.open_upload(
            session, submission, upload.fields["sha256"], HEADER_LIMIT, timedelta(seconds=PATIENCE_SECONDS)
        )
        upload_row = session.get_one(Upload, submission.id)
        arrival.write(upload.content)
        arrival.flush()
        multipart.receive_part(session, storage, upload_row, 0, arrival)
        upload.view = multipart.upload_view(upload_row, direct=False).model_dump() | {"capability": upload_token}
    files = service.files()
    for answer in (upload.put_part(0), upload.complete()):
        assert (answer.status_code, answer.json()["code"]) == (507, "internal.full")
    assert upload.received_parts() == [0]
    assert service.files() == files == {"0"}


def test_files_that_arrive_together_leave_the_spare_bytes_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = 1 << 20

    def disk_usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(
            free=5 * piece - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        )

    monkeypatch.setattr("app.submissions.storage.shutil.disk_usage", disk_usage)
    storage = FolderStorage(tmp_path, spare=2 * piece)
    with storage.receive() as first, storage.receive() as second:
        for arrival in (first, second):
            storage.check_free_space(2 * piece)  # there is space for each file, but not for both
            arrival.write(bytes(piece))
        first.write(bytes(piece))
        with pytest.raises(ProblemError) as refused:
            second.write(bytes(piece))
    assert refused.value.problem.code == "internal.full"


@pytest.mark.parametrize("size", [10, 1 << 20], ids=["seen at the end", "seen at once"])
def test_disk_that_fills_during_an_upload_leaves_no_file(tmp_path: Path, size: int) -> None:
    storage = FolderStorage(tmp_path / "files")

    def receive() -> None:
        with storage.receive() as arrival:
            arrival._file.close()
            arrival._file = Path("/dev/full").open("wb")  # noqa: SIM115 -- the arrival closes it
            arrival.write(bytes(size))
            arrival.flush()

    with pytest.raises(ProblemError, match="disk is full") as raised:
        receive()
    assert raised.value.problem.code == "internal.full"
    assert [path for path in storage.folder.rglob("*") if path.is_file()] == []


def test_other_disk_errors_are_not_reported_as_a_full_disk(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "files")
    (tmp_path / "files" / "arriving").rmdir()
    with pytest.raises(OSError, match="No such file") as raised:
        storage.receive()
    assert raised.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [("CREATE TABLE t AS SELECT zeroblob(100000)", 507, "internal.full"), ("SELECT nothing", 500, "internal.failed")],
)
def test_database_that_cannot_grow_is_reported_as_a_full_disk(statement: str, status: int, code: str) -> None:
    app, engine = FastAPI(), create_engine("sqlite://")
    problem_responses.install_problem_handlers(app, lambda _problem, _path: "")
    app.add_middleware(RequestIds)

    @app.get("/")
    def write() -> None:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 2")
            connection.exec_driver_sql(statement)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    answer = run_in_loop(ask())
    engine.dispose()
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_failed_periodic_sync_is_reported_at_the_final_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    # The kernel reports a write error of a file once, at the next sync, which is not the sync at the end of the upload.
    monkeypatch.setattr("app.submissions.arrivals.os.fdatasync", full)
    monkeypatch.setattr("app.submissions.arrivals.SYNC_BYTES", 10)
    storage = FolderStorage(tmp_path)
    with storage.receive() as arrival:
        arrival.write(bytes(10))
        with pytest.raises(ProblemError) as refused:
            arrival.flush()
    assert refused.value.problem.code == "internal.full"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
