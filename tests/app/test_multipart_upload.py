"""A score file sent in parts becomes the submission that it would be in one piece."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import update

from app.db.base import now
from app.db.uploads import Upload
from ldsboard.formats import HEADER_LIMIT
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def service(small_part_service: Service) -> Service:
    return small_part_service


def content(wide: Example, seed: int = 0) -> bytes:
    return npy(wide.scores(seed=seed).astype(np.float64))


def parts_left(service: Service) -> list[str]:
    return [path.name for path in (service.settings.storage_dir / "arriving").iterdir()]


def test_parts_sent_in_any_order_and_in_parallel_make_the_file(service: Service, wide: Example) -> None:
    token = service.token("ann")
    cost, origin = {"seconds": 1.5, "models": 3}, {"repository": "ann/x", "commit": "a" * 40, "url": "https://x.org/1"}
    said = {"description": "Two lines,\n\there.", "tags": ["one", "two"]}
    upload = MultipartUpload(service, token, "wide", content(wide), title=" Ours ", cost=cost, provenance=origin, **said)
    first = service.client.get(f"/submissions/{upload.started().id}").json()
    assert first.items() >= said.items()
    assert [part["size"] for part in upload.view["parts"]] == [HEADER_LIMIT, HEADER_LIMIT, 192128 - 2 * HEADER_LIMIT]
    assert upload.view["state"] == "uploading"
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(upload.put, [2, 0, 1]))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    response = upload.complete()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/v1/submissions/{upload.id}"
    view = service.wait_until_final(upload.id)
    assert view["public"]["lds"] == wide.offline(wide.scores())["public"].lds
    assert (view["title"], view["cost"], view["provenance"]) == ("Ours", cost, origin)
    assert view.items() >= said.items()
    assert [after for _, after in service.events(upload.id)] == ["uploading", "queued", "scoring", "scored"]
    assert upload.id not in parts_left(service)


def test_received_parts_are_listed_and_missing_parts_block_completion(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("ben"), "wide", content(wide)).started()
    assert upload.received_parts() == []
    assert upload.put_part(1).json()["received"]
    assert upload.received_parts() == [1]
    assert upload.put_part(1).status_code == 200
    response = upload.complete()
    assert (response.status_code, response.json()["code"]) == (409, "upload.incomplete")
    assert "parts are missing: 0, 2" in response.json()["detail"]
    upload.put_part(0)
    upload.put_part(2)
    assert upload.complete().status_code == 202


def test_parts_survive_a_killed_server(service: Service, wide: Example) -> None:
    """Started uploads stay; what was torn in the middle goes."""
    upload = MultipartUpload(service, service.token("cem", ranked_per_day=1), "wide", content(wide)).started()
    upload.put_part(0)
    upload.put_part(2)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    half = service.settings.storage_dir / "arriving" / "0123"
    half.write_bytes(b"half a part")
    service.start()
    assert not half.exists()
    assert upload.received_parts() == [0, 2]
    assert service.events(upload.id) == [(None, "uploading")]
    assert upload.put_part(1).status_code == 200
    assert upload.complete().status_code == 202
    assert service.wait_until_final(upload.id)["state"] == "scored"


def test_complete_can_be_repeated_and_called_in_parallel(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("dan"), "wide", content(wide)).started()
    upload.put_all_parts()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: upload.complete(), range(4)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, upload.id)}
    service.wait_until_final(upload.id)
    assert upload.complete().json()["state"] == "scored"
    response = upload.put_part(0)
    assert (response.status_code, response.json()["code"]) == (409, "request.conflict")


def test_wrong_file_hash_is_rejected_and_parts_can_be_replaced(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("eve"), "wide", content(wide)).started()
    upload.put_all_parts()
    upload.put_part(1, bytes(HEADER_LIMIT))
    response = upload.complete()
    assert (response.status_code, response.json()["code"]) == (422, "upload.hash")
    assert service.row(upload.id).state == "uploading"
    assert service.row(upload.id).file_sha256 is None
    upload.put_part(1)
    assert upload.complete().status_code == 202


@pytest.mark.parametrize(
    ("number", "change", "status", "code"),
    [
        (0, b"x", 422, "upload.part"),
        (2, None, 422, "upload.part"),
        (0, bytes(HEADER_LIMIT), 413, "upload.too_large"),
    ],
)
def test_part_of_the_wrong_size_is_rejected(
    service: Service, wide: Example, number: int, change: bytes | None, status: int, code: str
) -> None:
    upload = MultipartUpload(service, service.token("fay"), "wide", content(wide), kind="practice").started()
    body = upload.part_content(number)
    response = upload.put_part(number, body[:-1] if change is None else body + change)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert upload.received_parts() == []


def test_unknown_part_number_is_rejected(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("fay"), "wide", content(wide), kind="practice").started()
    for number, code in (("3", "upload.part"), ("-1", "request.invalid"), ("x", "request.invalid")):
        response = service.client.put(
            f"/submissions/{upload.id}/parts/{number}", content=b"x", headers=upload.authorization
        )
        assert (response.status_code, response.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("scores.transposed", lambda scores: np.ascontiguousarray(scores.T)),
        ("scores.dtype", lambda scores: scores.astype(np.int64)),
        ("scores.shape", lambda scores: scores[:-1]),
    ],
)
def test_invalid_header_in_the_first_part_is_rejected_and_frees_the_quota(
    service: Service, wide: Example, code: str, change: Any
) -> None:
    token = service.token(code.replace(".", "-"), ranked_per_day=1)
    bad = npy(change(wide.scores().astype(np.float64)))
    upload = MultipartUpload(service, token, "wide", bad).started()
    upload.put_part(1)
    response = upload.put_part(0)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json() == service.submit(token, "wide", bad).json()
    assert service.events(upload.id) == [(None, "uploading"), ("uploading", "expired")]
    assert upload.id not in parts_left(service)
    assert upload.put_part(2).json()["code"] == "upload.expired"
    assert MultipartUpload(service, token, "wide", content(wide)).submit_and_score()["attempts"] == 1


def test_only_the_upload_token_and_the_owner_may_send_parts(service: Service, wide: Example) -> None:
    owner, other = service.token("gil"), service.token("hal")
    upload = MultipartUpload(service, owner, "wide", content(wide)).started()
    another = MultipartUpload(service, other, "wide", content(wide)).started()
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
    # It opens nothing else.
    assert service.submit(upload.view["capability"], "wide", content(wide)).status_code == 401
    assert upload.view["capability"].startswith("ldsu_")
    # By another process: whoever closes a database file ends the locks that SQLite has on it for the whole of this one.
    command = ["cat", *map(str, service.settings.data_dir.glob("ldsboard.sqlite3*"))]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    assert upload.id.encode() in found
    assert upload.view["capability"].encode() not in found


def test_invalid_start_is_rejected(service: Service, wide: Example) -> None:
    token = service.token("ida", ranked_per_day=0)
    said: dict[str, Any]
    for said, status, code in (
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
        upload = MultipartUpload(service, token, "wide", content(wide))
        upload.fields |= said
        response = upload.start()
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
    response = service.client.post("/submissions", content=b"x" * 100_000)
    assert response.status_code == 401, "the token comes before the body"
    response = service.client.post("/submissions", content=b"x" * 100_000, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 413


def test_simultaneous_starts_cannot_exceed_the_quota(service: Service, wide: Example) -> None:
    token = service.token("jon")
    uploads = [MultipartUpload(service, token, "wide", content(wide), method=f"m{i}") for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(MultipartUpload.start, uploads))
    assert Counter(answer.status_code for answer in answers) == {201: 5, 429: 3}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 60 * 60
    assert service.submit(token, "wide", content(wide)).status_code == 429


def test_start_repeated_with_a_key_returns_the_upload_and_a_new_token(service: Service, wide: Example) -> None:
    token = service.token("kim", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", content(wide))
    first, second = upload.start("k").json(), upload.start("k").json()
    assert first["id"] == second["id"]
    lost = {"Authorization": f"Bearer {first['capability']}"}
    assert service.client.get(f"/submissions/{first['id']}/parts", headers=lost).status_code == 401
    assert upload.received_parts() == []
    for other in ({"method": "theirs"}, {"sha256": "0" * 64}, {"kind": "practice"}, {"visibility": "private"}):
        another = MultipartUpload(service, token, "wide", content(wide), **other)
        assert another.start("k").json()["code"] == "request.conflict"


def test_expired_upload_is_rejected_and_its_parts_are_deleted(service: Service, wide: Example) -> None:
    token = service.token("lea", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", content(wide)).started()
    upload.put_part(0)
    assert timedelta(hours=23) < _expires(upload) < timedelta(hours=24, seconds=1)
    with service.database.write() as session:
        session.execute(update(Upload).where(Upload.submission_id == upload.id).values(expires_at=now()))
    response = upload.put_part(1)
    assert (response.status_code, response.json()["code"]) == (410, "upload.expired")
    until(lambda: service.row(upload.id).state == "expired", "an expired upload")
    until(lambda: upload.id not in parts_left(service), "its parts deleted")
    assert service.events(upload.id) == [(None, "uploading"), ("uploading", "expired")]
    assert upload.complete().json()["code"] == "upload.expired"
    owner = {"Authorization": f"Bearer {token}"}
    shown = service.client.get(f"/submissions/{upload.id}/parts", headers=owner).json()
    assert (shown["state"], {part["received"] for part in shown["parts"]}) == ("expired", {False})
    assert service.client.post(f"/submissions/{upload.id}/complete", headers=owner).status_code == 410
    assert MultipartUpload(service, token, "wide", content(wide)).submit_and_score()["attempts"] == 1


def _expires(upload: MultipartUpload) -> timedelta:
    with upload.service.database.read() as session:
        return session.get_one(Upload, upload.id).expires_at - now()


def test_cancelled_upload_leaves_no_parts_and_frees_the_quota(service: Service, wide: Example) -> None:
    token = service.token("quitter", ranked_per_day=1)
    upload = MultipartUpload(service, token, "wide", content(wide), kind="ranked").started()
    assert upload.put_part(0).status_code == 200
    address = f"/submissions/{upload.id}/parts"
    assert service.client.delete(address).status_code == 401
    other = {"Authorization": f"Bearer {service.token('somebody-else')}"}
    assert service.client.delete(address, headers=other).status_code == 404
    assert service.client.delete(address, headers=upload.authorization).status_code == 204
    assert upload.id not in parts_left(service)
    assert [after for _, after in service.events(upload.id)] == ["uploading", "expired"]
    assert service.client.delete(address, headers=upload.authorization).status_code == 410
    assert upload.put_part(1).status_code == 410
    again = MultipartUpload(service, token, "wide", content(wide), kind="ranked").started()
    for number in range(3):
        again.put_part(number)
    assert again.complete().status_code == 202
    late = service.client.delete(f"/submissions/{again.id}/parts", headers=again.authorization)
    assert (late.status_code, late.json()["code"]) == (409, "request.conflict")


def test_upload_token_of_a_completed_upload_expires(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("max"), "wide", content(wide))
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
    assert schema["required"] == ["benchmark", "method", "size", "sha256"]
    assert schema["properties"]["kind"]["enum"] == ["ranked", "practice"]
