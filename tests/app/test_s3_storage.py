"""Score files in an S3-compatible store: what is stored, listed, fetched and deleted, and what happens while it is away."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import obstore
import pytest
from obstore.exceptions import BaseError

from app.errors import LostFileError, StorageAwayError
from app.settings import Settings
from app.submissions import s3_storage
from app.submissions.opened_storage import open_storage
from app.submissions.s3_connection import connect
from app.submissions.s3_storage import S3Storage
from ldsboard.problems import ProblemError
from tests.app.multipart_upload import read_parts
from tests.openstack_swift import ACCESS_KEY, BUCKET, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.submissions.arrivals import Arrival
    from tests.openstack_swift import Swift

LARGE = 20 * 1024 * 1024 + 17
"""Size of a file that is sent and read in several pieces."""


@pytest.fixture
def settings(swift: Swift, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", **swift.settings(tmp_path.name))


@pytest.fixture
def storage(swift: Swift, settings: Settings) -> Iterator[S3Storage]:
    opened = open_storage(settings)
    assert isinstance(opened, S3Storage)
    yield opened
    swift.start()


def receive(storage: S3Storage, content: bytes) -> Arrival:
    arrival = storage.receive()
    arrival.write(content)
    arrival.flush()
    return arrival


def store(storage: S3Storage, content: bytes) -> str:
    with receive(storage, content) as arrival:
        storage.send(arrival)
        storage.keep(arrival)
        return arrival.sha256


def scratch(settings: Settings) -> list[str]:
    return [path.name for path in (settings.data_dir / "arriving").iterdir()]


@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * 1024, LARGE])
def test_stored_file_is_fetched_with_the_same_bytes(storage: S3Storage, settings: Settings, size: int) -> None:
    content = os.urandom(size)
    sha256 = store(storage, content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    with storage.local_file(sha256) as path:
        assert path.read_bytes() == content
    assert scratch(settings) == []
    assert storage.sizes({sha256}) == {sha256: size}
    assert storage.stored_hashes() == [sha256]


def test_equal_file_can_be_stored_again_and_replaces_a_damaged_object(storage: S3Storage) -> None:
    sha256 = store(storage, b"scores")
    with receive(storage, b"other!") as arrival:
        storage._send(storage.key(sha256), arrival)  # the size is right, the bytes are not
    assert b"".join(storage.read(storage.key(sha256))) == b"other!"
    assert store(storage, b"scores") == sha256
    assert b"".join(storage.read(storage.key(sha256))) == b"scores"


def test_two_prefixes_of_one_bucket_do_not_see_each_other(storage: S3Storage, swift: Swift, tmp_path: Path) -> None:
    sha256 = store(storage, b"scores")
    other = open_storage(Settings(data_dir=tmp_path / "other", **swift.settings(f"{tmp_path.name}-2")))
    assert (other.stored_hashes(), other.sizes({sha256})) == ([], {})
    other.delete(sha256)
    assert storage.stored_hashes() == [sha256]


def test_deleted_file_is_lost_and_deleting_again_does_nothing(storage: S3Storage, settings: Settings) -> None:
    sha256 = store(storage, b"scores")
    storage.delete(sha256)
    storage.delete(sha256)
    with pytest.raises(LostFileError, match=sha256), storage.local_file(sha256):
        raise AssertionError
    assert (storage.stored_hashes(), storage.sizes({sha256}), scratch(settings)) == ([], {}, [])
    assert storage.is_ready()


def test_parts_are_joined_in_order_and_deleted_together(storage: S3Storage) -> None:
    contents = [os.urandom(9 * 1024 * 1024), b"middle", b"end"]
    hashes = []
    for upload in ("first", "second"):
        for number, content in enumerate(contents):
            with receive(storage, content) as arrival:
                storage.send_part(upload, number, arrival)
                storage.keep_part(upload, number, arrival)
                hashes.append(arrival.sha256)
    assert read_parts(storage, "first", hashes[:3]) == b"".join(contents)
    assert sorted(storage.upload_ids()) == ["first", "second"]
    assert storage.stored_hashes() == []
    storage.delete_parts("first")
    assert storage.upload_ids() == ["second"]
    with pytest.raises(FileNotFoundError):
        read_parts(storage, "first", hashes[:3])


def test_the_row_decides_which_of_two_parts_with_one_number_counts(storage: S3Storage) -> None:
    with receive(storage, b"early") as early, receive(storage, b"later") as later:
        for arrival in (early, later):
            storage.send_part("upload", 0, arrival)
        assert read_parts(storage, "upload", [early.sha256]) == b"early"
        assert read_parts(storage, "upload", [later.sha256]) == b"later"


def test_file_that_was_deleted_between_sending_and_the_transaction_is_sent_again(storage: S3Storage) -> None:
    with receive(storage, b"scores") as arrival:
        storage.send(arrival)
        storage.delete(arrival.sha256)
        storage.keep(arrival)
    assert storage.stored_hashes() == [arrival.sha256]


def test_lost_answer_to_a_stored_file_is_settled(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    put = obstore.put

    def lose_answer(*arguments: Any, **options: Any) -> None:
        put(*arguments, **options)
        raise BaseError("connection closed before message completed")

    monkeypatch.setattr(obstore, "put", lose_answer)
    with receive(storage, b"scores") as arrival:
        storage.send(arrival)
    assert storage.stored_hashes() == [arrival.sha256]

    def refuse(*_: Any, **__: Any) -> None:
        raise BaseError("connection refused")

    monkeypatch.setattr(obstore, "put", refuse)
    with receive(storage, b"more scores") as arrival, pytest.raises(StorageAwayError):
        storage.send(arrival)


def test_every_call_of_a_store_that_is_away_says_so_and_the_file_can_be_sent_when_it_is_back(
    storage: S3Storage, swift: Swift, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = store(storage, b"scores")
    swift.kill()
    with monkeypatch.context() as patched:
        patched.setattr(s3_storage, "READY_SECONDS", 0.0)
        assert not storage.is_ready()
    with receive(storage, b"more") as arrival:
        for call in (
            lambda: storage.send(arrival),
            lambda: storage.keep(arrival),
            lambda: storage.send_part("upload", 0, arrival),
            lambda: list(storage.read(storage.key(sha256))),
            lambda: storage.sizes({sha256}),
            storage.stored_hashes,
            storage.upload_ids,
            lambda: storage.check_free_space(1),
        ):
            with pytest.raises(StorageAwayError):
                call()
        storage.delete(sha256)  # the next start deletes what is left
        storage.delete_parts("upload")
        assert storage.is_away()
        swift.start()
        assert storage.is_ready()
        with monkeypatch.context() as patched:
            patched.delattr(obstore, "put")
            assert storage.is_ready()  # a store that has answered is not asked again
        storage.check_free_space(1)
        storage.send(arrival)
        storage.keep(arrival)
    assert sorted(storage.stored_hashes()) == sorted([sha256, arrival.sha256])
    assert scratch(settings) == []


def test_store_that_stops_answering_is_away_after_the_time_limit(
    storage: S3Storage, swift: Swift, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = store(storage, b"scores")
    impatient = connect(settings, BUCKET, "", seconds=0.2, retries=0)
    monkeypatch.setattr(storage, "_slow", impatient)
    monkeypatch.setattr(storage, "_quick", impatient)
    swift.pause(paused=True)
    try:
        with pytest.raises(StorageAwayError, match="out of reach"), storage.local_file(sha256):
            raise AssertionError
        assert storage.is_away()
    finally:
        swift.pause(paused=False)
    assert scratch(settings) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"storage_url": "s3://missing-bucket/files"}, "NoSuchBucket"),
        ({"aws_secret_access_key": "wrong-secret"}, "SignatureDoesNotMatch"),
        ({"aws_access_key_id": "wrong:user"}, "(?!no answer)"),
        ({"aws_endpoint_url": "http://127.0.0.1:1"}, "no answer"),
    ],
)
def test_bucket_that_cannot_be_used_is_refused_without_showing_credentials(
    swift: Swift, tmp_path: Path, changed: dict[str, str], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    swift.start()
    settings = Settings(data_dir=tmp_path / "data", **swift.settings("files") | changed)
    with pytest.raises(RuntimeError, match=rf"The bucket .* cannot be used \({reason}") as refused:
        open_storage(settings)
    shown = str(refused.value) + repr(refused.value) + repr(refused.value.__cause__) + "".join(capfd.readouterr())
    assert "Signature" not in shown.replace("SignatureDoesNotMatch", "")
    for secret in (ACCESS_KEY, SECRET_KEY, "wrong-secret", "wrong:user"):
        assert secret not in shown


def test_missing_bucket_is_no_lost_file(
    storage: S3Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_slow", "_quick"):
        monkeypatch.setattr(storage, name, connect(settings, "missing-bucket", "", seconds=5, retries=0))
    with pytest.raises(StorageAwayError) as raised, storage.local_file("ab" * 32):
        raise AssertionError
    assert raised.value.reason == "NoSuchBucket"


def test_pieces_are_read_and_a_short_one_is_no_file(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = store(storage, b"scores")
    monkeypatch.setattr(s3_storage, "READ_BYTES", 4)
    assert list(storage.read(storage.key(sha256))) == [b"scor", b"es"]
    monkeypatch.setattr(obstore, "get_range", lambda *_, **__: b"sco")
    with pytest.raises(StorageAwayError), storage.local_file(sha256):
        raise AssertionError


def test_several_files_are_deleted_together_although_one_is_missing(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [store(storage, content) for content in (b"one", b"two")]
    storage.delete_files([hashes[0], "ab" * 32])
    assert storage.stored_hashes() == hashes[1:]
    delete = obstore.delete

    def find(opened: Any, keys: str | list[str]) -> None:
        if not isinstance(keys, str) or "ab" * 32 in keys:
            raise FileNotFoundError(keys)
        delete(opened, keys)

    monkeypatch.setattr(obstore, "delete", find)
    storage.delete_files(["ab" * 32, hashes[1]])
    assert storage.stored_hashes() == []


def test_uploads_are_listed_only_after_parts_were_sent(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    listing = obstore.list_with_delimiter

    def listed(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return listing(*arguments, **options)

    monkeypatch.setattr(obstore, "list_with_delimiter", listed)
    assert [storage.upload_ids() for _ in range(3)] == [[]] * 3
    assert len(calls) == 1
    with receive(storage, b"part") as arrival:
        storage.send_part("upload", 0, arrival)
    assert [storage.upload_ids() for _ in range(2)] == [["upload"]] * 2
    assert len(calls) == 3


def test_free_space_is_that_of_the_local_folder(
    storage: S3Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = settings.spare_bytes + 10

    monkeypatch.setattr(
        "app.submissions.storage.shutil.disk_usage", lambda folder: Usage() if "data" in str(folder) else 0
    )
    storage.check_free_space(10)
    with pytest.raises(ProblemError, match="disk is full"):
        storage.check_free_space(11)
    with storage.receive() as arrival, pytest.raises(ProblemError, match="disk is full"):
        arrival.write(bytes(11))
