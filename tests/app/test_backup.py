"""The command `backup`: copies of a running installation, from which servers run and the command `move` restores."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from app import data_lock
from app.db.models import State
from app.errors import StorageAwayError
from app.management import backups
from app.management.backups import BackupError, back_up
from app.settings import Settings
from app.submissions import files
from app.submissions.folder_storage import FolderStorage
from tests.app.multipart_upload import MultipartUpload, float64_file
from tests.app.service import Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.openstack_swift import Swift


@pytest.fixture
def served(backend: str, request: pytest.FixtureRequest, tmp_path: Path, toy: Example) -> Iterator[Service]:
    """A server of its own on the database of the test; on PostgreSQL, its score files are in a bucket."""
    settings: dict[str, Any] = {}
    if backend == "postgresql":
        swift: Swift = request.getfixturevalue("swift")
        settings = swift.settings(f"backup/{tmp_path.name}") | {
            "database_url": request.getfixturevalue("cluster").create()
        }
    with Service(tmp_path / "served", **settings) as service:
        service.publish(toy.folder)
        yield service


def restored(folder: Path, backup: Path) -> Service:
    """Return a server, not yet started, that uses a backup as its data folder."""
    return Service(folder, data_dir=backup)


@pytest.mark.database
def test_backup_under_load_holds_everything_accepted_before_it_began(
    served: Service, toy: Example, tmp_path: Path
) -> None:
    token, done = served.token("ada", ranked_per_day=10**6, ranked_per_version=10**6), threading.Event()
    accepted: list[str] = []

    def send() -> None:
        while not done.is_set():
            number = len(accepted)
            response = served.submit(token, "toy", npy(toy.scores(seed=number)), method=f"m-{number}")
            accepted.append(response.json()["id"])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        for least in (3, 6):
            until(lambda least=least: len(accepted) >= least, "accepted files")  # type: ignore[misc]
            before = list(accepted)
            copied = served.run("backup", str(tmp_path / "backup"))
            assert copied.returncode == 0, copied.stdout + copied.stderr
            assert ("of an earlier backup used" in copied.stdout) == (least > 3)
    finally:
        done.set()
        sender.join()
    served.wait_until_idle()
    with restored(tmp_path / "restored", tmp_path / "backup") as other:
        other.wait_until_idle()
        assert other.run("doctor").stdout == "Database rows and files agree.\n"
        for submission_id in before:
            found, expected = other.measurements(submission_id), served.measurements(submission_id)
            assert {part: found[part].lds for part in found} == {part: expected[part].lds for part in expected}
            assert expected
        # Tokens go on working, and new files are scored.
        assert other.submit_and_score(token, "toy", npy(toy.scores(seed=10**6)), method="new")
    assert served.run("doctor").stdout == "Database rows and files agree.\n"


@pytest.mark.database
def test_killed_backup_leaves_the_earlier_one_and_is_repeated(served: Service, toy: Example, tmp_path: Path) -> None:
    token, folder = served.token("ada"), tmp_path / "backup"
    first = served.submit_and_score(token, "toy", npy(toy.scores(seed=1)))["id"]
    assert served.run("backup", str(folder)).returncode == 0
    earlier = (folder / backups.DATABASE).read_bytes()
    second = served.submit_and_score(token, "toy", npy(toy.scores(seed=2)))["id"]
    # What a backup that was killed while it copied leaves behind.
    (folder / backups.DRAFT).write_bytes(b"half")
    (folder / f"{backups.DRAFT}-wal").write_bytes(b"half")
    (folder / "files/arriving/half").write_bytes(b"half")
    assert (folder / backups.DATABASE).read_bytes() == earlier
    assert served.run("backup", str(folder)).returncode == 0
    with restored(tmp_path / "restored", folder) as other:
        assert other.run("doctor").stdout == "Database rows and files agree.\n"
        assert {other.row(each).state for each in (first, second)} == {State.SCORED}


@pytest.mark.database
def test_open_uploads_have_expired_in_the_backup_only(
    served: Service, toy: Example, wide: Example, tmp_path: Path
) -> None:
    del toy
    served.publish(wide.folder)
    content = float64_file(wide)
    upload = MultipartUpload(served, served.token("ada"), "wide", content).started()
    assert served.run("backup", str(tmp_path / "backup")).returncode == 0
    with restored(tmp_path / "restored", tmp_path / "backup") as other:
        assert other.row(upload.id).state == State.EXPIRED
        assert other.run("doctor").stdout == "Database rows and files agree.\n"
    assert served.row(upload.id).state == State.UPLOADING


def test_backup_of_a_bucket_moves_back_into_a_bucket(
    swift: Swift, toy: Example, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with Service(tmp_path / "first", **swift.settings(f"first/{tmp_path.name}")) as service:
        service.publish(toy.folder)
        sent = service.submit_and_score(service.token("ada"), "toy", npy(toy.scores()))["id"]
        assert service.run("backup", str(tmp_path / "backup")).returncode == 0
        environment = service.environment | {"LDSBOARD_DATA_DIR": str(tmp_path / "backup"), "LDSBOARD_STORAGE_URL": ""}
        database = request.getfixturevalue("cluster").create()
        bucket = swift.settings(f"second/{tmp_path.name}")
        moved = service.run("move", "--database", database, "--storage", bucket["storage_url"], environment=environment)
        assert moved.returncode == 0, moved.stdout + moved.stderr
    with Service(tmp_path / "second", data_dir=tmp_path / "backup", database_url=database, **bucket) as other:
        assert other.run("doctor").stdout == "Database rows and files agree.\n"
        assert other.row(sent).state == State.SCORED


def withdraw(harness: ServiceHarness, submission_id: str) -> None:
    """Withdraw a submission, and delete its file."""
    with harness.database.write() as session:
        harness.withdraw(session, submission_id)
    files.delete_unreferenced(harness.database, harness.storage, harness.storage.stored_hashes())


def settings_of(harness: ServiceHarness, tmp_path: Path) -> Settings:
    """Return the settings of a harness, whose database may be in its data folder."""
    return Settings(data_dir=tmp_path, storage_url=str(harness.storage.folder))


@pytest.mark.database
def test_rows_are_copied_again_if_a_file_was_deleted_before_it_was_copied(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (harness.accept(npy(toy.scores(seed=seed)), f"m-{seed}") for seed in (1, 2))
    for _ in range(2):
        assert harness.evaluator.evaluate_next()
    copied, to_withdraw = [], [first]
    copy_database = backups._copy_database

    def copy_then_withdraw(database: Database, draft: Path) -> None:
        copy_database(database, draft)
        copied.append(draft)
        if to_withdraw:
            withdraw(harness, to_withdraw.pop())

    monkeypatch.setattr(backups, "_copy_database", copy_then_withdraw)
    done = back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    assert (len(copied), done.faults, done.files + done.kept) == (2, [], 1)
    to_withdraw += [second]
    monkeypatch.setattr(backups, "ATTEMPTS", 1)
    # The second file is there already, so its withdrawal is no reason to copy the rows again.
    assert back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None).kept == 1
    assert back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None).kept == 0
    assert list((elsewhere / "files").glob("??/*")) == []


def test_backup_gives_up_if_files_are_always_deleted(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = iter(range(100))
    copy_database = backups._copy_database

    def copy_then_withdraw(database: Database, draft: Path) -> None:
        seed = next(seeds)
        submission_id = harness.accept(npy(toy.scores(seed=seed)), f"m-{seed}")
        copy_database(database, draft)
        withdraw(harness, submission_id)

    monkeypatch.setattr(backups, "_copy_database", copy_then_withdraw)
    with pytest.raises(BackupError, match="several times"):
        back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    assert not (elsewhere / backups.DATABASE).exists()
    assert next(seeds) == backups.ATTEMPTS


@pytest.mark.parametrize("fault", ["lost", "damaged"])
def test_faults_of_the_installation_are_named_and_copied(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path, fault: str
) -> None:
    harness.accept(npy(toy.scores()))
    (path,) = harness.storage.folder.glob("??/*")
    if fault == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    done = back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    assert any(fault in message for message in done.faults), done.faults
    assert (elsewhere / backups.DATABASE).exists()


def test_store_that_is_away_is_not_taken_for_a_full_disk(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.accept(npy(toy.scores()))

    def read(*_: object) -> bytes:
        raise StorageAwayError("no answer")

    monkeypatch.setattr(FolderStorage, "read", read)
    with pytest.raises(StorageAwayError):
        back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    assert not (elsewhere / backups.DATABASE).exists()


def test_other_files_are_mirrored_without_drafts(harness: ServiceHarness, tmp_path: Path, elsewhere: Path) -> None:
    settings = settings_of(harness, tmp_path)
    (tmp_path / "session-key").write_text("secret")
    (tmp_path / "session-key").chmod(0o600)
    data_lock.folder_id(tmp_path, create=True)  # a copy is another folder
    day = tmp_path / "snapshots/toy/1/2026-01-01"
    day.mkdir(parents=True)
    (day / "board.csv").write_text("a,b")
    (day.parent / ".draft").mkdir()
    back_up(settings, harness.database, elsewhere, None)
    copied = elsewhere / "snapshots/toy/1/2026-01-01/board.csv"
    assert copied.read_text() == "a,b"
    assert not (elsewhere / "snapshots/toy/1/.draft").exists()
    assert (elsewhere / "session-key").stat().st_mode & 0o777 == 0o600
    assert not (elsewhere / data_lock.ID_FILE).exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert (elsewhere / backups.DATABASE).stat().st_mode & 0o777 == 0o600
    assert (elsewhere / "benchmarks/toy").is_dir()
    (day / "board.csv").rename(day / "removal.json")  # a snapshot that was removed by law
    (tmp_path / "session-key").unlink()
    back_up(settings, harness.database, elsewhere, None)
    assert [path.name for path in copied.parent.iterdir()] == ["removal.json"]
    assert not (elsewhere / "session-key").exists()


def test_folder_that_a_server_uses_is_refused(served: Service, service: Service) -> None:
    refused = served.run("backup", str(service.settings.data_dir))
    assert (refused.returncode, "uses the folder" in refused.stderr) == (2, True)
