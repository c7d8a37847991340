"""Multipart uploads: sending, replacing and completing parts."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.multipart_upload import MultipartUpload, float64_file, stored_uploads
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def service(small_part_service: Service) -> Service:
    return small_part_service


def test_parts_sent_in_any_order_and_in_parallel_make_the_file(service: Service, wide: Example) -> None:
    token = service.token("ann")
    cost = {"seconds": 1.5, "models": 3}
    origin: dict[str, Any] = {"repository": "ann/x", "commit": "a" * 40, "url": "https://x.org/1"}
    origin |= {"branch": "feature/one", "number": 2**31 - 1, "provider": "gitlab"}
    texts: dict[str, Any] = {"description": "Two lines,\n\there.", "tags": ["one", "two"]}
    texts |= {"paper": "https://x.org/paper?a=b", "code": "http://x.org/code"}
    upload = MultipartUpload(
        service, token, "wide", float64_file(wide), title=" Ours ", cost=cost, provenance=origin, **texts
    )
    first = service.client.get(f"/submissions/{upload.started().id}").json()
    assert first.items() >= texts.items()
    assert [part["size"] for part in upload.view["parts"]] == [HEADER_LIMIT, HEADER_LIMIT, 192128 - 2 * HEADER_LIMIT]
    assert upload.view["state"] == "uploading"
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(upload.put_part, [2, 0, 1]))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    response = upload.complete()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/v1/submissions/{upload.id}"
    view = service.wait_until_final(upload.id)
    assert view["public"]["lds"] == wide.offline(wide.scores())["public"].lds
    assert (view["title"], view["cost"], view["provenance"]) == ("Ours", cost, origin | {"verified": False})
    assert view.items() >= texts.items()
    assert [after for _, after in service.events(upload.id)] == ["uploading", "queued", "scoring", "scored"]
    assert upload.id not in stored_uploads(service)


def test_received_parts_are_listed_and_missing_parts_block_completion(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("ben"), "wide", float64_file(wide)).started()
    assert upload.received_parts() == []
    assert upload.put_part(1).json()["received"]
    assert upload.received_parts() == [1]
    assert upload.put_part(1).status_code == 200
    response = upload.complete()
    assert (response.status_code, response.json()["code"]) == (409, "upload.incomplete")
    assert "lacks 2 of 3 parts: 0, 2." in response.json()["detail"]
    upload.put_part(0)
    upload.put_part(2)
    assert upload.complete().status_code == 202


def test_parts_survive_a_killed_server(service: Service, wide: Example) -> None:
    """Received parts stay; a partially written part is deleted."""
    upload = MultipartUpload(service, service.token("cem", ranked_per_day=1), "wide", float64_file(wide)).started()
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
    upload = MultipartUpload(service, service.token("dan"), "wide", float64_file(wide)).started()
    upload.put_all_parts()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: upload.complete(), range(4)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, upload.id)}
    service.wait_until_final(upload.id)
    assert upload.complete().json()["state"] == "scored"
    response = upload.put_part(0)
    assert (response.status_code, response.json()["code"]) == (409, "request.conflict")


def test_wrong_file_hash_is_rejected_and_parts_can_be_replaced(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("eve"), "wide", float64_file(wide)).started()
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
    upload = MultipartUpload(service, service.token("fay"), "wide", float64_file(wide), kind="practice").started()
    body = upload.part_content(number)
    response = upload.put_part(number, body[:-1] if change is None else body + change)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert upload.received_parts() == []


def test_unknown_part_number_is_rejected(service: Service, wide: Example) -> None:
    upload = MultipartUpload(service, service.token("fay"), "wide", float64_file(wide), kind="practice").started()
    for number, code in (("3", "upload.part"), ("-1", "request.invalid"), ("x", "request.invalid")):
        response = service.client.put(
            f"/submissions/{upload.id}/parts/{number}", content=b"x", headers=upload.authorization
        )
        assert (response.status_code, response.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    ("code", "change"),
    [
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
    assert upload.id not in stored_uploads(service)
    assert upload.put_part(2).json()["code"] == "upload.expired"
    assert MultipartUpload(service, token, "wide", float64_file(wide)).submit_and_score()["attempts"] == 1
