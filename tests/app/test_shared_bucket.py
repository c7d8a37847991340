"""Several servers that share a bucket: what each knows of it, and what one deletes while another one uses it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy.exc import OperationalError

from app.accounts import users
from app.api.responses import accept_file
from app.db.database_errors import is_busy
from app.db.models import State
from app.db.sessions import Database
from app.errors import BusyError
from app.management import recovery
from app.settings import Settings
from app.submissions import lifecycle, s3_storage
from app.submissions.files import delete_undeleted, delete_unreferenced
from app.submissions.opened_storage import open_storage
from app.submissions.s3_storage import S3Storage
from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.harness import ServiceHarness
from tests.app.multipart_upload import MultipartUpload, float64_file
from tests.app.service import Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.context import AppContext
    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift
    from tests.postgresql import Cluster

WAIT_SECONDS = 60.0


@pytest.fixture(autouse=True)
def available(swift: Swift) -> Iterator[None]:
    swift.start()
    yield
    swift.start()


@pytest.fixture(scope="module")
def servers(
    cluster: Cluster, swift: Swift, tmp_path_factory: pytest.TempPathFactory, toy: Example, wide: Example
) -> Iterator[list[Service]]:
    """Two servers, of which the first leads."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    shared = {"database_url": cluster.create(), "scoring_processes": 0, "data_dir": folders[0] / "data"}
    shared |= {"part_bytes": HEADER_LIMIT} | swift.settings(folders[0].name)
    with Service(folders[0], **shared) as first, Service(folders[1], **shared) as second:
        for example in (toy, wide):
            first.publish(example.folder)
        yield [first, second]


def stored(service: Service) -> S3Storage:
    """Return the storage of a server, as another process sees it."""
    return cast("S3Storage", open_storage(service.settings))


def test_parts_of_one_upload_arrive_through_different_servers(servers: list[Service], wide: Example) -> None:
    upload = MultipartUpload(servers[0], servers[0].token("ann"), "wide", float64_file(wide)).started()
    for number in range(3):
        upload.service = servers[number % 2]
        assert upload.put_part(number).status_code == 200
    upload.service = servers[1]
    assert upload.complete().status_code == 202
    row = servers[0].row(upload.id)
    assert row.state == State.QUEUED
    storage = stored(servers[0])
    assert b"".join(storage.read(storage.key(str(row.file_sha256)))) == upload.content
    assert storage.upload_ids() == []


def test_server_that_does_not_lead_deletes_what_it_could_not_delete(
    servers: list[Service], swift: Swift, toy: Example
) -> None:
    second = servers[1]
    token = second.token("bea")
    sent = second.submit(token, "toy", npy(toy.scores(seed=3)), kind="practice").json()
    before = stored(second).stored_hashes()
    assert sent["file_sha256"] in before
    swift.kill()
    answer = second.client.delete(f"/submissions/{sent['id']}", headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success, answer.text
    swift.start()
    until(lambda: sent["file_sha256"] not in stored(second).stored_hashes(), "a deleted file")
    assert set(before) - {sent["file_sha256"]} == set(stored(second).stored_hashes())


@pytest.fixture
def harness(database: Database, tmp_path: Path, toy: Example, swift: Swift) -> Iterator[ServiceHarness]:
    with closing(ServiceHarness(database, tmp_path, toy, another_storage(swift, tmp_path))) as opened:
        yield opened


def another_storage(swift: Swift, folder: Path) -> S3Storage:
    """Return the storage of one more process."""
    return S3Storage(Settings(data_dir=folder / "data", **swift.settings("")), "scores", folder.name)


def send(storage: S3Storage, content: bytes) -> str:
    """Send a file as a server does before its transaction; return the SHA-256."""
    with storage.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        storage.send(arrival)
        return arrival.sha256


def test_leader_finds_the_parts_that_another_server_has_left(
    harness: ServiceHarness, swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another_storage(swift, tmp_path)
    recovery.expire_multipart_uploads(harness.database, harness.storage)
    with other.receive() as arrival:
        arrival.write(b"part")
        arrival.flush()
        other.send_part("ended", 0, arrival)
    recovery.expire_multipart_uploads(harness.database, harness.storage)  # asks the store once a minute only
    assert other.upload_ids() == ["ended"]
    monkeypatch.setattr(s3_storage, "LIST_SECONDS", 0.0)
    recovery.expire_multipart_uploads(harness.database, harness.storage)
    assert other.upload_ids() == []


def test_leader_deletes_the_files_that_killed_servers_have_left(
    harness: ServiceHarness, swift: Swift, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another_storage(swift, tmp_path)
    harness.accept(npy(toy.scores()))
    kept = other.stored_hashes()
    sweep = recovery.OrphanSweep(harness.database, harness.storage)
    orphan = send(other, b"orphan")
    (harness.storage.scratch / "left").write_bytes(b"half a file")
    swift.kill()
    sweep.sweep_if_due()
    swift.start()
    assert orphan in other.stored_hashes()
    sweep.sweep_if_due()
    assert other.stored_hashes() == kept
    assert list(harness.storage.scratch.iterdir()) == []
    send(other, b"orphan")
    sweep.sweep_if_due()
    assert orphan in other.stored_hashes()  # the next sweep is due in an hour
    monkeypatch.setattr(recovery, "SWEEP_SECONDS", 0.0)
    recovery.OrphanSweep(harness.database, harness.storage).sweep_if_due()
    assert other.stored_hashes() == kept


@pytest.mark.database
def test_file_that_one_server_deletes_while_another_keeps_an_equal_one(
    harness: ServiceHarness, swift: Swift, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = npy(toy.scores())
    withdrawn = harness.accept(content)
    again = harness.reserve(len(content), user="bob")
    with harness.database.write() as session:
        harness.withdraw(session, withdrawn)
    url = harness.database.engine.url.render_as_string(hide_password=False)
    deleting, sent = threading.Event(), threading.Event()
    delete_files = harness.storage.delete_files

    def wait_and_delete(hashes: list[str]) -> None:
        deleting.set()
        assert sent.wait(WAIT_SECONDS)
        delete_files(hashes)

    monkeypatch.setattr(harness.storage, "delete_files", wait_and_delete)
    other = another_storage(swift, tmp_path)
    with closing(Database(url)) as database, ThreadPoolExecutor(1) as thread, other.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        deletion = thread.submit(delete_unreferenced, harness.database, harness.storage, [arrival.sha256])
        assert deleting.wait(WAIT_SECONDS)
        with closing(Database(url, busy_seconds=0.05)) as impatient:
            with pytest.raises(OperationalError) as refused, impatient.write() as late:
                users.add_user(late, "carol")
            assert is_busy(refused.value)
        other.send(arrival)
        sent.set()
        with database.write() as session:
            lifecycle.accept(session, other, again, arrival, harness.quotas)
        deletion.result()
    assert other.stored_hashes() == [arrival.sha256]
    delete_unreferenced(harness.database, harness.storage, [arrival.sha256])
    assert harness.evaluator.evaluate_next()
    assert harness.state(again) == State.SCORED


def test_files_are_deleted_later_if_the_database_is_away(harness: ServiceHarness) -> None:
    def away() -> None:
        raise BusyError

    storage = harness.storage
    context = cast("AppContext", SimpleNamespace(storage=storage, database=SimpleNamespace(write=away)))
    with storage.receive() as arrival:
        arrival.write(b"scores")
        arrival.flush()
        with pytest.raises(BusyError), accept_file(context, arrival):
            raise AssertionError
    assert storage.stored_hashes() == [arrival.sha256]
    with pytest.raises(BusyError):
        delete_undeleted(context.database, storage)
    delete_undeleted(harness.database, storage)
    assert storage.stored_hashes() == []
