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
from tests.app.sending import Sending
from tests.app.service import npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def service(parted: Service) -> Service:
    return parted


def content(wide: Example, seed: int = 0) -> bytes:
    return npy(wide.scores(seed=seed).astype(np.float64))


def parts_left(service: Service) -> list[str]:
    return [path.name for path in (service.settings.storage_dir / "arriving").iterdir()]


def test_parts_in_any_order_and_at_once_are_the_file(service: Service, wide: Example) -> None:
    token = service.token("ann")
    cost, origin = {"seconds": 1.5, "models": 3}, {"repository": "ann/x", "commit": "a" * 40, "url": "https://x.org/1"}
    said = {"description": "Two lines,\n\there.", "tags": ["one", "two"]}
    sending = Sending(service, token, "wide", content(wide), title=" Ours ", cost=cost, provenance=origin, **said)
    first = service.client.get(f"/submissions/{sending.started().id}").json()
    assert first.items() >= said.items()
    assert [part["size"] for part in sending.view["parts"]] == [HEADER_LIMIT, HEADER_LIMIT, 192128 - 2 * HEADER_LIMIT]
    assert sending.view["state"] == "uploading"
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(sending.put, [2, 0, 1]))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    response = sending.complete()
    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/v1/submissions/{sending.id}"
    view = service.settled(sending.id)
    assert view["public"]["lds"] == wide.offline(wide.scores())["public"].lds
    assert (view["title"], view["cost"], view["provenance"]) == ("Ours", cost, origin)
    assert view.items() >= said.items()
    assert [after for _, after in service.events(sending.id)] == ["uploading", "queued", "scoring", "scored"]
    assert sending.id not in parts_left(service)


def test_what_has_arrived_is_known_after_an_interruption(service: Service, wide: Example) -> None:
    sending = Sending(service, service.token("ben"), "wide", content(wide)).started()
    assert sending.received() == []
    assert sending.put(1).json()["received"]
    assert sending.received() == [1]
    assert sending.put(1).status_code == 200
    response = sending.complete()
    assert (response.status_code, response.json()["code"]) == (409, "upload.incomplete")
    assert "0, 2" in response.json()["got"]
    sending.put(0)
    sending.put(2)
    assert sending.complete().status_code == 202


def test_parts_outlive_a_killed_server(service: Service, wide: Example) -> None:
    """Started uploads stay; what was torn in the middle goes."""
    sending = Sending(service, service.token("cem", ranked_per_day=1), "wide", content(wide)).started()
    sending.put(0)
    sending.put(2)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    half = service.settings.storage_dir / "arriving" / "0123"
    half.write_bytes(b"half a part")
    service.start()
    assert not half.exists()
    assert sending.received() == [0, 2]
    assert service.events(sending.id) == [(None, "uploading")]
    assert sending.put(1).status_code == 200
    assert sending.complete().status_code == 202
    assert service.settled(sending.id)["state"] == "scored"


def test_a_call_that_ends_an_upload_can_be_repeated_and_made_at_once(service: Service, wide: Example) -> None:
    sending = Sending(service, service.token("dan"), "wide", content(wide)).started()
    sending.put_all()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: sending.complete(), range(4)))
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, sending.id)}
    service.settled(sending.id)
    assert sending.complete().json()["state"] == "scored"
    response = sending.put(0)
    assert (response.status_code, response.json()["code"]) == (409, "request.conflict")


def test_parts_that_make_another_file_are_refused_and_can_be_corrected(service: Service, wide: Example) -> None:
    sending = Sending(service, service.token("eve"), "wide", content(wide)).started()
    sending.put_all()
    sending.put(1, bytes(HEADER_LIMIT))
    response = sending.complete()
    assert (response.status_code, response.json()["code"]) == (422, "upload.hash")
    assert service.row(sending.id).state == "uploading"
    assert service.row(sending.id).file_sha256 is None
    sending.put(1)
    assert sending.complete().status_code == 202


@pytest.mark.parametrize(
    ("number", "change", "status", "code"),
    [
        (0, b"x", 422, "upload.part"),
        (2, None, 422, "upload.part"),
        (0, bytes(HEADER_LIMIT), 413, "upload.too_large"),
    ],
)
def test_a_part_of_another_size_is_refused(
    service: Service, wide: Example, number: int, change: bytes | None, status: int, code: str
) -> None:
    sending = Sending(service, service.token("fay"), "wide", content(wide), kind="practice").started()
    body = sending.bytes_of(number)
    response = sending.put(number, body[:-1] if change is None else body + change)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert sending.received() == []


def test_a_part_that_is_not_there_is_refused(service: Service, wide: Example) -> None:
    sending = Sending(service, service.token("fay"), "wide", content(wide), kind="practice").started()
    for number, code in (("3", "upload.part"), ("-1", "request.invalid"), ("x", "request.invalid")):
        response = service.client.put(
            f"/submissions/{sending.id}/parts/{number}", content=b"x", headers=sending.capability
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
def test_a_header_that_fits_nothing_is_refused_with_the_first_part_and_costs_nothing(
    service: Service, wide: Example, code: str, change: Any
) -> None:
    token = service.token(code.replace(".", "-"), ranked_per_day=1)
    bad = npy(change(wide.scores().astype(np.float64)))
    sending = Sending(service, token, "wide", bad).started()
    sending.put(1)
    response = sending.put(0)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert response.json() == service.submit(token, "wide", bad).json()
    assert service.events(sending.id) == [(None, "uploading"), ("uploading", "expired")]
    assert sending.id not in parts_left(service)
    assert sending.put(2).json()["code"] == "upload.expired"
    assert Sending(service, token, "wide", content(wide)).scored()["attempts"] == 1


def test_only_the_capability_and_the_owner_may_send_parts(service: Service, wide: Example) -> None:
    owner, other = service.token("gil"), service.token("hal")
    sending = Sending(service, owner, "wide", content(wide)).started()
    another = Sending(service, other, "wide", content(wide)).started()
    address = f"/submissions/{sending.id}/parts"
    for given, status in (
        (sending.view["capability"], 200),
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
    assert service.submit(sending.view["capability"], "wide", content(wide)).status_code == 401
    assert sending.view["capability"].startswith("ldsu_")
    # By another process: whoever closes a database file ends the locks that SQLite has on it for the whole of this one.
    command = ["cat", *map(str, service.settings.data_dir.glob("ldsboard.sqlite3*"))]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    assert sending.id.encode() in found
    assert sending.view["capability"].encode() not in found


def test_a_start_is_refused_as_a_file_is(service: Service, wide: Example) -> None:
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
        sending = Sending(service, token, "wide", content(wide))
        sending.said |= said
        response = sending.begin()
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
    response = service.client.post("/submissions", content=b"x" * 100_000)
    assert response.status_code == 401, "the token comes before the body"
    response = service.client.post("/submissions", content=b"x" * 100_000, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 413


def test_started_uploads_hold_the_quota_however_many_start_at_once(service: Service, wide: Example) -> None:
    token = service.token("jon")
    sendings = [Sending(service, token, "wide", content(wide), method=f"m{i}") for i in range(8)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(Sending.begin, sendings))
    assert Counter(answer.status_code for answer in answers) == {201: 5, 429: 3}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 24 * 60 * 60
    assert service.submit(token, "wide", content(wide)).status_code == 429


def test_a_start_repeated_under_a_key_is_one_upload_with_a_new_capability(service: Service, wide: Example) -> None:
    token = service.token("kim", ranked_per_day=1)
    sending = Sending(service, token, "wide", content(wide))
    first, second = sending.begin("k").json(), sending.begin("k").json()
    assert first["id"] == second["id"]
    lost = {"Authorization": f"Bearer {first['capability']}"}
    assert service.client.get(f"/submissions/{first['id']}/parts", headers=lost).status_code == 401
    assert sending.received() == []
    for other in ({"method": "theirs"}, {"sha256": "0" * 64}, {"kind": "practice"}, {"visibility": "private"}):
        another = Sending(service, token, "wide", content(wide), **other)
        assert another.begin("k").json()["code"] == "request.conflict"


def test_an_upload_whose_time_is_over_is_given_up_with_its_parts(service: Service, wide: Example) -> None:
    token = service.token("lea", ranked_per_day=1)
    sending = Sending(service, token, "wide", content(wide)).started()
    sending.put(0)
    assert timedelta(hours=23) < _expires(sending) < timedelta(hours=24, seconds=1)
    with service.database.write() as session:
        session.execute(update(Upload).where(Upload.submission_id == sending.id).values(expires_at=now()))
    response = sending.put(1)
    assert (response.status_code, response.json()["code"]) == (410, "upload.expired")
    until(lambda: service.row(sending.id).state == "expired", "an expired upload")
    until(lambda: sending.id not in parts_left(service), "its parts deleted")
    assert service.events(sending.id) == [(None, "uploading"), ("uploading", "expired")]
    assert sending.complete().json()["code"] == "upload.expired"
    owner = {"Authorization": f"Bearer {token}"}
    shown = service.client.get(f"/submissions/{sending.id}/parts", headers=owner).json()
    assert (shown["state"], {part["received"] for part in shown["parts"]}) == ("expired", {False})
    assert service.client.post(f"/submissions/{sending.id}/complete", headers=owner).status_code == 410
    assert Sending(service, token, "wide", content(wide)).scored()["attempts"] == 1


def _expires(sending: Sending) -> timedelta:
    with sending.service.database.read() as session:
        return session.get_one(Upload, sending.id).expires_at - now()


def test_an_upload_that_is_given_up_leaves_nothing_and_frees_the_quota(service: Service, wide: Example) -> None:
    token = service.token("quitter", ranked_per_day=1)
    sending = Sending(service, token, "wide", content(wide), kind="ranked").started()
    assert sending.put(0).status_code == 200
    address = f"/submissions/{sending.id}/parts"
    assert service.client.delete(address).status_code == 401
    other = {"Authorization": f"Bearer {service.token('somebody-else')}"}
    assert service.client.delete(address, headers=other).status_code == 404
    assert service.client.delete(address, headers=sending.capability).status_code == 204
    assert sending.id not in parts_left(service)
    assert [after for _, after in service.events(sending.id)] == ["uploading", "expired"]
    assert service.client.delete(address, headers=sending.capability).status_code == 410
    assert sending.put(1).status_code == 410
    again = Sending(service, token, "wide", content(wide), kind="ranked").started()
    for number in range(3):
        again.put(number)
    assert again.complete().status_code == 202
    late = service.client.delete(f"/submissions/{again.id}/parts", headers=again.capability)
    assert (late.status_code, late.json()["code"]) == (409, "request.conflict")


def test_the_capability_of_a_finished_upload_ends_too(service: Service, wide: Example) -> None:
    sending = Sending(service, service.token("max"), "wide", content(wide))
    sending.scored()
    assert sending.complete().status_code == 202
    with service.database.write() as session:
        session.execute(update(Upload).where(Upload.submission_id == sending.id).values(expires_at=now()))
    assert sending.complete().json()["code"] == "upload.expired"
    assert service.row(sending.id).state == "scored"


def test_what_a_start_takes_is_described_whole(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    body = paths["/api/v1/submissions"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert "$ref" not in str(schema)
    assert schema["required"] == ["benchmark", "method", "size", "sha256"]
    assert schema["properties"]["kind"]["enum"] == ["ranked", "practice"]
