"""Upload parts that clients send straight to the store, to signed addresses."""

from __future__ import annotations

import base64
import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.db.models import State
from app.management import recovery
from app.settings import Settings
from app.submissions.opened_storage import open_storage
from ldsboard import direct_parts, sending
from ldsboard.client import Client
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.sending import submit
from tests.app.direct_upload import DirectUpload, direct_service
from tests.app.multipart_upload import float64_file
from tests.app.ports import reserved_port
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift


@pytest.fixture(scope="module")
def direct(swift: Swift, tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    with direct_service(swift, tmp_path_factory.mktemp("direct"), wide) as running:
        yield running


@pytest.fixture
def upload(direct: Service, wide: Example) -> DirectUpload:
    return DirectUpload(direct, direct.token("ada"), "wide", float64_file(wide)).started()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "scores.npy"
    path.write_bytes(content)
    return path


@pytest.fixture
def scores(tmp_path: Path, wide: Example, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    return written(tmp_path, float64_file(wide, seed=7))


def test_parts_go_to_the_store_and_the_file_is_scored(upload: DirectUpload, direct: Service) -> None:
    assert upload.view["direct"] is True
    for number in (2, 0, 1):
        upload.send(number)
    assert upload.received_parts() == [0, 1, 2]
    done = upload.complete()
    assert done.status_code == 202, done.text
    assert direct.wait_until_final(upload.id)["state"] == State.SCORED


def test_client_sends_parts_to_the_store_without_its_token(
    direct: Service, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[httpx.Request] = []

    class Recorded(httpx.Client):
        def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            requests.append(request)
            return super().send(request, **options)

    monkeypatch.setattr(httpx, "Client", Recorded)
    monkeypatch.setattr(Client, "send_part", None)  # the way through the server
    sent: list[int] = []
    with Client(direct.url, direct.token("bob")) as client:
        view = submit(client, "wide", scores, method="straight", advance=sent.append)
    assert direct.wait_until_final(view["id"])["state"] == State.SCORED
    assert sum(sent) == scores.stat().st_size
    to_store = [request for request in requests if request.method == "PUT"]
    assert len(to_store) == 3
    assert not any({"authorization", "ldsboard-client"} & set(request.headers) for request in to_store)


def test_client_sends_through_the_server_if_another_answers_in_the_place_of_the_store(
    direct: Service, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts: list[str] = []

    def answered(_self: direct_parts.DirectParts, url: str, *_: object) -> bool:
        puts.append(url)
        return True

    monkeypatch.setattr(direct_parts.DirectParts, "_put", answered)
    monkeypatch.setattr(sending, "PARALLEL_PARTS", 1)
    with Client(direct.url, direct.token("fay")) as client:
        view = submit(client, "wide", scores, method="captive")
    assert direct.wait_until_final(view["id"])["state"] == State.SCORED
    assert len(puts) == direct_parts.ATTEMPTS


def test_client_that_cannot_reach_the_store_sends_through_the_server(
    swift: Swift, tmp_path: Path, wide: Example, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts: list[str] = []
    put = direct_parts.DirectParts._put

    def counted(self: direct_parts.DirectParts, url: str, *arguments: Any) -> bool:
        puts.append(url)
        return put(self, url, *arguments)

    monkeypatch.setattr(direct_parts.DirectParts, "_put", counted)
    monkeypatch.setattr(sending, "PARALLEL_PARTS", 1)
    with reserved_port() as closed:
        settings = swift.settings("unreachable") | {"part_bytes": HEADER_LIMIT}
        with Service(tmp_path / "served", storage_public_url=f"http://127.0.0.1:{closed}", **settings) as service:
            service.publish(wide.folder)
            with Client(service.url, service.token("ada")) as client:
                view = submit(client, "wide", scores, method="around")
            assert service.wait_until_final(view["id"])["state"] == State.SCORED
    assert len(puts) == direct_parts.ATTEMPTS  # for the first part only
    assert all(url.startswith(f"http://127.0.0.1:{closed}/") for url in puts)


def test_client_gets_a_new_signature_if_the_store_refuses_one(
    direct: Service, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "send_part", None)
    ask = Client.ask
    refused: list[str] = []

    def ask_and_spoil(self: Client, method: str, url: str, *arguments: object, **options: object) -> object:
        answer = ask(self, method, url, *arguments, **options)  # type: ignore[arg-type]
        if url.endswith("/0/address") and not refused:
            refused.append(url)
            answer["url"] = answer["url"].replace("X-Amz-Signature=", "X-Amz-Signature=0")
        return answer

    monkeypatch.setattr(Client, "ask", ask_and_spoil)
    with Client(direct.url, direct.token("eve")) as client:
        view = submit(client, "wide", scores, method="again")
    assert refused
    assert direct.wait_until_final(view["id"])["state"] == State.SCORED


def test_part_that_is_not_in_the_store_or_has_another_size_is_refused(upload: DirectUpload) -> None:
    missing = upload.call(1, "arrived")
    assert (missing.status_code, missing.json()["code"]) == (422, "upload.part")
    assert "nothing at its address" in missing.json()["detail"]
    url = upload.call(1, "address").json()["url"]
    assert upload.put(url, upload.part_content(1)[:-1]).is_success
    short = upload.call(1, "arrived")
    assert (short.status_code, short.json()["code"]) == (422, "upload.part")
    assert str(len(upload.part_content(1)) - 1) in short.json()["detail"]
    assert upload.received_parts() == []


def test_bytes_that_do_not_have_the_stated_hash_never_become_a_submission(upload: DirectUpload) -> None:
    upload.send(0)
    upload.send(2)
    url = upload.call(1, "address").json()["url"]
    assert upload.put(url, bytes(len(upload.part_content(1)))).is_success
    assert upload.call(1, "arrived").is_success
    refused = upload.complete()
    assert (refused.status_code, refused.json()["code"]) == (422, "upload.hash")
    # The right bytes, to the same address, repair the upload.
    assert upload.put(url, upload.part_content(1)).is_success
    assert upload.complete().status_code == 202


def test_store_refuses_a_part_with_a_wrong_checksum(upload: DirectUpload) -> None:
    url = upload.call(0, "address").json()["url"]
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    assert upload.put(url, upload.part_content(0), **{"Content-MD5": wrong}).status_code == 400
    assert upload.call(0, "arrived").status_code == 422


def test_first_part_that_cannot_be_scored_cancels_the_upload(direct: Service, wide: Example) -> None:
    content = b"\x93NUMPY" + bytes(len(float64_file(wide)) - 6)
    upload = DirectUpload(direct, direct.token("ada"), "wide", content).started()
    url = upload.call(0, "address").json()["url"]
    assert upload.put(url, upload.part_content(0)).is_success
    refused = upload.call(0, "arrived")
    assert refused.json()["code"].startswith("scores."), refused.text
    assert direct.row(upload.id).state == State.EXPIRED
    assert upload.call(1, "address").json()["code"] == "upload.expired"


def test_only_the_sender_gets_addresses(upload: DirectUpload, direct: Service) -> None:
    address = f"/submissions/{upload.id}/parts/0/address"
    for headers, status in (
        ({}, 401),
        ({"Authorization": f"Bearer {direct.token('mallory')}"}, 404),
        (upload.authorization, 200),
    ):
        assert direct.client.post(address, json={"sha256": "0" * 64}, headers=headers).status_code == status
    for body in ({}, {"sha256": "x"}, {"sha256": "0" * 64, "size": 1}):
        assert direct.client.post(address, json=body, headers=upload.authorization).status_code == 422
    assert upload.call(0, "address").json()["url"].startswith(direct.settings.storage_public_url)
    outside = direct.client.post(
        f"/submissions/{upload.id}/parts/9/address", json={"sha256": "0" * 64}, headers=upload.authorization
    )
    assert outside.json()["code"] == "upload.part"


def test_part_that_is_sent_again_after_the_end_changes_nothing_and_is_deleted(
    upload: DirectUpload, direct: Service
) -> None:
    url = upload.call(0, "address").json()["url"]
    for number in range(3):
        upload.send(number)
    assert upload.complete().status_code == 202
    view = direct.wait_until_final(upload.id)
    assert upload.put(url, bytes(10)).is_success
    storage = open_storage(direct.settings)
    with closing(direct.database):
        assert upload.id in storage.upload_ids()
        recovery.expire_multipart_uploads(direct.database, storage)
    assert upload.id not in open_storage(direct.settings).upload_ids()
    assert direct.client.get(f"/submissions/{upload.id}").json()["file_sha256"] == view["file_sha256"]
    assert storage.size(storage.key(upload.fields["sha256"])) == len(upload.content)


def test_server_with_a_folder_has_no_addresses(small_part_service: Service, wide: Example) -> None:
    upload = DirectUpload(small_part_service, small_part_service.token("ada"), "wide", float64_file(wide)).started()
    assert upload.view["direct"] is False
    for step in ("address", "arrived"):
        assert (upload.call(0, step).status_code, upload.call(0, step).json()["code"]) == (409, "request.conflict")


@pytest.mark.parametrize(
    ("url", "bucket", "message"),
    [
        ("https://s3.example.org", False, "needs a bucket in LDSBOARD_STORAGE_URL"),
        ("s3.example.org", True, "must be an http:// or https:// URL"),
        ("http://s3.example.org", True, "must begin with https://, as LDSBOARD_PUBLIC_URL does"),
    ],
)
def test_unusable_address_of_the_store_is_refused(swift: Swift, url: str, bucket: bool, message: str) -> None:
    stored = swift.settings("any") if bucket else {}
    with pytest.raises(ValueError, match=f"LDSBOARD_STORAGE_PUBLIC_URL {message}"):
        Settings(storage_public_url=url, public_url="https://board.example.org", **stored).check_serving()
