"""Multipart uploads from start to end: start, authorization, quotas, cancellation and expiry."""

from __future__ import annotations

import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from app.db.base import now
from app.db.uploads import Upload
from tests.app.multipart_upload import MultipartUpload, float64_file, stored_uploads
from tests.app.service import until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def service(small_part_service: Service) -> Service:
    return small_part_service


def test_only_the_upload_token_and_the_owner_may_send_parts(service: Service, wide: Example) -> None:
    owner, other = service.token("gil"), service.token("hal")
    upload = MultipartUpload(service, owner, "wide", float64_file(wide)).started()
    another = MultipartUpload(service, other, "wide", float64_file(wide)).started()
    address = f"/submissions/{upload.id}/parts"
    for given, status in (
        (upload.view["capability"], 200),
        (owner, 200),
        (other, 404),
        (another.view["capability"], 401),
        ("ldsu_nothing", 401),
    ):
        assert service.client.get(address, headers={"Authorization": f"Bearer {given}"}).status_code == status
    assert service.client.get(address).status_code == 401
    unknown = service.client.get("/submissions/0123456789abcdef/parts", headers={"Authorization": f"Bearer {owner}"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "submission.unknown")
    # An upload token authorizes no other call.
    assert service.submit(upload.view["capability"], "wide", float64_file(wide)).status_code == 401
    assert upload.view["capability"].startswith("ldsu_")
    # In another process: closing a database file would release all SQLite locks that this process holds on it.
    command = ["cat", *map(str, service.settings.data_dir.glob("ldsboard.sqlite3*"))]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    assert upload.id.encode() in found
    assert upload.view["capability"].encode() not in found


def test_invalid_start_is_rejected(service: Service, wide: Example) -> None:
    token = service.token("ida", ranked_per_day=0)
    fields: dict[str, Any]
    for fields, status, code in (
        ({}, 429, "quota.exceeded"),
        ({"benchmark": "none"}, 404, "benchmark.unknown"),
        ({"size": 1_000_001}, 413, "upload.too_large"),
        ({"size": 0}, 422, "scores.empty"),
        ({"sha256": "0"}, 422, "request.invalid"),
        ({"method": "Ours"}, 422, "request.invalid"),
        ({"more": 1}, 422, "request.invalid"),
        ({"title": "two\nlines"}, 422, "request.invalid"),
        ({"title": "ours \u202egnp.exe"}, 422, "request.invalid"),
        ({"description": "a bell\a"}, 422, "request.invalid"),
        ({"description": "\u2067turned"}, 422, "request.invalid"),
        ({"tags": ["Not a slug"]}, 422, "request.invalid"),
        ({"tags": ["x"] * 9}, 422, "request.invalid"),
        ({"provenance": {"url": "javascript:alert(1)"}}, 422, "request.invalid"),
    ):
        upload = MultipartUpload(service, token, "wide", float64_file(wide))
        upload.fields |= fields
        response = upload.start()
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
    response = service.client.post("/submissions", content=b"x" * 100_000)
    assert response.status_code == 401, "the token is checked before the body"
    response = service.client.post("/submissions", content=b"x" * 100_000, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 413


def test_simultaneous_starts_cannot_exceed_the_quota(service: Service, wide: Example) -> None:
    token = service.token("jon")
    uploads = [MultipartUpload(service, token, "wide", float64_file(wide), method=f"m{i}") for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(MultipartUpload.start, uploads))
    assert Counter(answer.status_code for answer in answers) == {201: 5, 429: 3}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 60 * 60
    assert service.submit(token, "wide", float64_file(wide)).status_code == 429


def test_start_repeated_with_a_key_returns_the_upload_and_a_new_token(service: Service, wide: Example) -> None:
    token = service.token("kim", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", float64_file(wide))
    first, second = upload.start("k").json(), upload.start("k").json()
    assert first["id"] == second["id"]
    lost = {"Authorization": f"Bearer {first['capability']}"}
    assert service.client.get(f"/submissions/{first['id']}/parts", headers=lost).status_code == 401
    assert upload.received_parts() == []
    for other in ({"method": "theirs"}, {"sha256": "0" * 64}, {"kind": "practice"}, {"visibility": "private"}):
        another = MultipartUpload(service, token, "wide", float64_file(wide), **other)
        assert another.start("k").json()["code"] == "request.conflict"


def test_expired_upload_is_rejected_and_its_parts_are_deleted(service: Service, wide: Example) -> None:
    token = service.token("lea", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", float64_file(wide)).started()
    upload.put_part(0)
    assert timedelta(hours=23) < _remaining_time(upload) < timedelta(hours=24, seconds=1)
    with service.database.write() as session:
        session.execute(update(Upload).where(Upload.submission_id == upload.id).values(expires_at=now()))
    response = upload.put_part(1)
    assert (response.status_code, response.json()["code"]) == (410, "upload.expired")
    until(lambda: service.row(upload.id).state == "expired", "the expired state")
    until(lambda: upload.id not in stored_uploads(service), "the deletion of its parts")
    assert service.events(upload.id) == [(None, "uploading"), ("uploading", "expired")]
    assert upload.complete().json()["code"] == "upload.expired"
    owner = {"Authorization": f"Bearer {token}"}
    shown = service.client.get(f"/submissions/{upload.id}/parts", headers=owner).json()
    assert (shown["state"], {part["received"] for part in shown["parts"]}) == ("expired", {False})
    assert service.client.post(f"/submissions/{upload.id}/complete", headers=owner).status_code == 410
    assert MultipartUpload(service, token, "wide", float64_file(wide)).submit_and_score()["attempts"] == 1


def _remaining_time(upload: MultipartUpload) -> timedelta:
    with upload.service.database.read() as session:
        return session.get_one(Upload, upload.id).expires_at - now()


def test_cancelled_upload_leaves_no_parts_and_frees_the_quota(service: Service, wide: Example) -> None:
    token = service.token("quitter", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", float64_file(wide), kind="ranked").started()
    assert upload.put_part(0).status_code == 200
    address = f"/submissions/{upload.id}/parts"
    assert service.client.delete(address).status_code == 401
    other = {"Authorization": f"Bearer {service.token('somebody-else')}"}
    assert service.client.delete(address, headers=other).status_code == 404
    assert service.client.delete(address, headers=upload.authorization).status_code == 204
    assert upload.id not in stored_uploads(service)
    assert [after for _, after in service.events(upload.id)] == ["uploading", "expired"]
    assert service.client.delete(address, headers=upload.authorization).status_code == 410
    assert upload.put_part(1).status_code == 410
    again = MultipartUpload(service, token, "wide", float64_file(wide), kind="ranked").started()
    for number in range(3):
        again.put_part(number)
    assert again.complete().status_code == 202
    late = service.client.delete(f"/submissions/{again.id}/parts", headers=again.authorization)
    assert (late.status_code, late.json()["code"]) == (409, "request.conflict")


def test_upload_token_of_a_completed_upload_expires(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("max"), "wide", float64_file(wide))
    upload.submit_and_score()
    assert upload.complete().status_code == 202
    with service.database.write() as session:
        session.execute(update(Upload).where(Upload.submission_id == upload.id).values(expires_at=now()))
    assert upload.complete().json()["code"] == "upload.expired"
    assert service.row(upload.id).state == "scored"


def test_start_request_is_described_completely(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    body = paths["/api/v1/submissions"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert "$ref" not in str(schema)
    assert schema["required"] == ["method", "benchmark", "size", "sha256"]
    assert schema["properties"]["kind"]["enum"] == ["ranked", "practice"]
