"""What the holder of a signed address of an upload part can do in the store, and what comes of it."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from app.api import multipart_upload
from app.context import AppContext
from app.db.models import State
from app.db.uploads import Upload
from app.errors import BusyError
from app.settings import Settings
from app.submissions import joining
from app.submissions.folder_storage import FolderStorage
from app.submissions.opened_storage import open_storage
from app.submissions.signed_urls import check_signed_urls
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import ProblemError
from tests.app.direct_upload import DirectUpload, direct_service
from tests.app.multipart_upload import float64_file
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.submissions.storage import Storage
    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.openstack_swift import Swift


@pytest.fixture(scope="module")
def direct(swift: Swift, tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    with direct_service(swift, tmp_path_factory.mktemp("signed"), wide) as running:
        yield running


@pytest.fixture
def storage(direct: Service) -> Storage:
    return open_storage(direct.settings)


@pytest.fixture
def upload(direct: Service, wide: Example) -> DirectUpload:
    return DirectUpload(direct, direct.token("ada"), "wide", float64_file(wide)).started()


def part_key(storage: Storage, upload: DirectUpload, number: int) -> str:
    return storage.part_key(upload.id, number, hashlib.sha256(upload.part_content(number)).hexdigest())


def test_signed_address_serves_for_no_other_method_key_or_source(
    upload: DirectUpload, storage: Storage, direct: Service
) -> None:
    upload.send(0)
    stored = part_key(storage, upload, 0)
    url = upload.call(1, "address").json()["url"]
    assert httpx.URL(url).path.endswith(part_key(storage, upload, 1))
    source = {"x-amz-copy-source": f"/scores/{direct.settings.bucket.prefix}/{stored}"}  # type: ignore[union-attr]
    for headers in (source, {"x-amz-acl": "public-read"}, {"x-amz-meta-name": "other"}):
        assert upload.put(url, b"", **headers).status_code == 403
    assert upload.put(url.replace("/1-", "/2-"), b"other").status_code == 403
    with httpx.Client(trust_env=False) as plain:
        assert [plain.request(method, url).status_code for method in ("GET", "HEAD", "DELETE")] == [403] * 3
    assert storage.size(part_key(storage, upload, 1)) is None


@pytest.mark.parametrize("size", [0, -1, 1, 6 << 20])
def test_part_that_is_replaced_after_it_has_arrived_is_refused_and_can_be_sent_again(
    upload: DirectUpload, direct: Service, size: int
) -> None:
    for number in range(3):
        upload.send(number)
    url, content = upload.call(1, "address").json()["url"], upload.part_content(1)
    replaced = content[:-1] if size < 0 else content + bytes(size) if size else bytes(len(content))
    assert upload.put(url, replaced).is_success
    refused = upload.complete()
    assert (refused.status_code, refused.json()["code"]) == (422, "upload.part" if size else "upload.hash")
    assert f"got {'more' if size > 0 else f'{len(replaced)} bytes' if size else ''}" in refused.json()["detail"]
    assert direct.row(upload.id).state == State.UPLOADING
    assert [path for path in (direct.settings.data_dir / "arriving").iterdir() if path.is_file()] == []
    assert upload.put(url, content).is_success
    assert upload.complete().status_code == 202


def test_header_that_is_replaced_after_it_has_arrived_is_checked_again(direct: Service, wide: Example) -> None:
    good = float64_file(wide)
    bad = bytes(10) + good[10:]
    upload = DirectUpload(direct, direct.token("ada"), "wide", bad).started()
    url = upload.call(0, "address").json()["url"]
    assert upload.put(url, good[: len(upload.part_content(0))]).is_success
    assert upload.call(0, "arrived").is_success
    assert upload.put(url, upload.part_content(0)).is_success
    for number in (1, 2):
        upload.send(number)
    refused = upload.complete()
    assert refused.json()["code"].startswith("scores."), refused.text
    assert direct.row(upload.id).state == State.UPLOADING


def test_part_that_the_store_has_lost_counts_as_missing(upload: DirectUpload, storage: Storage) -> None:
    for number in range(3):
        upload.send(number)
    storage._delete([part_key(storage, upload, 1)])  # type: ignore[attr-defined]
    refused = upload.complete()
    assert (refused.status_code, refused.json()["code"]) == (409, "upload.incomplete")
    assert refused.json()["detail"] == "The upload lacks 1 of 3 parts: 1."
    assert upload.received_parts() == [0, 2]
    upload.send(1)
    assert upload.complete().status_code == 202


def test_part_that_is_there_again_makes_the_call_repeat(
    upload: DirectUpload, storage: Storage, direct: Service
) -> None:
    for number in range(3):
        upload.send(number)
    context = cast("AppContext", SimpleNamespace(storage=storage, database=direct.database))
    with direct.database.read() as session:
        row = session.get_one(Upload, upload.id)
        assert len(row.received) == 3
    with pytest.raises(BusyError, match="sent again"):
        multipart_upload._find_result(context, row)
    assert upload.complete().status_code == 202


def test_no_more_than_one_chunk_is_read_beyond_the_size_of_a_part(
    upload: DirectUpload, direct: Service, tmp_path: Path
) -> None:
    chunk, read = bytes(1000), []

    class Endless(FolderStorage):
        def read(self, key: str) -> Iterator[bytes]:
            while True:
                read.append(key)
                yield chunk

    for number in range(3):
        upload.send(number)
    endless = Endless(tmp_path)
    with direct.database.read() as session, endless.receive() as arrival:
        row = session.get_one(Upload, upload.id)
        with pytest.raises(ProblemError, match="got more"):
            joining.join(endless, row, arrival)
    assert len(read) == HEADER_LIMIT // len(chunk) + 1


def test_server_that_has_signed_an_address_looks_at_once_for_what_was_sent_there(swift: Swift, tmp_path: Path) -> None:
    storage = open_storage(Settings(data_dir=tmp_path, storage_public_url=swift.url, **swift.settings("watched")))
    assert storage.upload_ids() == []
    url = storage.part_url("upload", 0, "0" * 64)
    assert httpx.put(url, content=b"part", trust_env=False).is_success
    assert storage.upload_ids() == ["upload"]


@pytest.mark.parametrize("status", [200, 404])
def test_server_starts_only_with_a_store_that_refuses_to_copy(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    settings = Settings(data_dir=tmp_path, storage_public_url="https://s3.example.org", **swift.settings("copying"))
    storage = open_storage(settings)
    check_signed_urls(storage)
    sent: list[dict[str, Any]] = []

    def put(_url: str, **options: Any) -> httpx.Response:
        sent.append(options["headers"])
        assert storage.upload_ids() != []
        return httpx.Response(status)

    monkeypatch.setattr(httpx, "put", put)
    with pytest.raises(RuntimeError, match="unset LDSBOARD_STORAGE_PUBLIC_URL"):
        AppContext(settings)
    assert [header["x-amz-copy-source"].startswith("/scores/copying/arriving/") for header in sent] == [True]
    assert storage.upload_ids() == []


def test_server_does_not_start_if_the_store_does_not_answer_the_check(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, storage_public_url=swift.url, **swift.settings("silent"))
    storage, put = open_storage(settings), httpx.put
    with reserved_port() as closed:
        other = f"http://127.0.0.1:{closed}"
        monkeypatch.setattr(httpx, "put", lambda url, **options: put(url.replace(swift.url, other), **options))
        with pytest.raises(RuntimeError, match="does not answer"):
            check_signed_urls(storage)
    assert storage.upload_ids() == []
