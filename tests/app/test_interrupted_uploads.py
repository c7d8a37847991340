"""Interrupted uploads, and uploads repeated with an idempotency key."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import select
from starlette.requests import Request

from app.api.submissions import MAX_WAIT_SECONDS
from app.db.accounts import User
from app.db.models import Submission
from app.submissions.folder_storage import FolderStorage
from app.web import request_body
from app.web.open_bodies import OpenBodies
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import ProblemError
from tests.app.benchmarks import write_benchmark
from tests.app.event_loop import run_in_loop
from tests.app.service import PATIENCE_SECONDS, npy, until

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Example:
    """A benchmark whose score files are longer than the first bytes that the server reads before it reserves a submission."""
    example = write_benchmark(tmp_path_factory.mktemp("large"), "large", n=1200, N=16, noise=20)
    service.publish(example.folder)
    return example


def _begin_upload(service: Service, token: str, content: bytes, send: int, key: str = "") -> socket.socket:
    """Send the head and the first `send` bytes of a single upload."""
    connection = socket.create_connection(("localhost", service.port), PATIENCE_SECONDS)
    request = (
        "PUT /api/v1/benchmarks/large/submissions?method=ours HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n"
    )
    request += f"Idempotency-Key: {key}\r\n\r\n" if key else "\r\n"
    connection.sendall(request.encode() + content[:send])
    return connection


def _newest(service: Service, owner: str) -> Submission | None:
    query = select(Submission).join(User).where(User.name == owner).order_by(Submission.created_at.desc()).limit(1)
    with service.database.read() as session:
        return session.scalar(query)


def _wait_for_state(service: Service, owner: str, state: str) -> Submission:
    def look() -> Submission | None:
        submission = _newest(service, owner)
        return submission if submission is not None and submission.state == state else None

    found = until(look, f"a submission of {owner} in state {state}")
    assert found is not None
    return found


def test_dropped_connection_expires_the_submission_and_frees_the_quota(service: Service, large: Example) -> None:
    token = service.token("dropper", ranked_per_day=1)
    content = npy(large.scores())
    assert len(content) > HEADER_LIMIT
    before = service.files()
    with _begin_upload(service, token, content, len(content) - 1):
        submission = _wait_for_state(service, "dropper", "uploading")
        # The open upload uses the quota.
        assert service.submit(token, "large", content).status_code == 429
    assert _wait_for_state(service, "dropper", "expired").id == submission.id
    assert service.events(submission.id) == [(None, "uploading"), ("uploading", "expired")]
    assert service.client.get(f"/submissions/{submission.id}").json()["state"] == "expired"
    until(lambda: service.files() == before, "the deletion of the file")
    assert service.submit_and_score(token, "large", content)["attempts"] == 1


def test_last_byte_completes_the_upload(service: Service, large: Example) -> None:
    token = service.token("slow")
    content = npy(large.scores(seed=1))
    with _begin_upload(service, token, content, len(content) - 1) as connection:
        _wait_for_state(service, "slow", "uploading")
        connection.sendall(content[-1:])
        assert connection.makefile("rb").readline() == b"HTTP/1.1 202 Accepted\r\n"
    view = service.wait_until_final(_newest_submission(service, "slow").id)
    assert view["public"]["lds"] == large.offline(large.scores(seed=1))["public"].lds


def test_long_poll_returns_at_a_change_or_after_its_time(service: Service, large: Example) -> None:
    content = npy(large.scores(seed=2))
    with (
        _begin_upload(service, service.token("poller"), content, len(content) - 1) as connection,
        ThreadPoolExecutor() as threads,
    ):
        address = f"/submissions/{_wait_for_state(service, 'poller', 'uploading').id}"
        for wait in (0, 0.3):
            assert service.client.get(address, params={"wait": wait}).json()["state"] == "uploading"
        changed = threads.submit(service.client.get, address, params={"wait": MAX_WAIT_SECONDS})
        connection.sendall(content[-1:])
        assert changed.result().json()["state"] != "uploading"


def _newest_submission(service: Service, owner: str) -> Submission:
    submission = _newest(service, owner)
    assert submission is not None
    return submission


def test_repeated_idempotency_key_returns_the_same_submission(service: Service, large: Example) -> None:
    token = service.token("twice", ranked_per_day=1)
    content = npy(large.scores())
    first = service.submit(token, "large", content, key="one")
    again = service.submit(token, "large", content, key="one")
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Location"] == first.headers["Location"]
    service.wait_until_final(first.json()["id"])
    assert service.submit(token, "large", content, key="one").json()["state"] == "scored"


@pytest.mark.parametrize(
    ("change", "query"),
    [(0.0, {"method": "theirs"}), (0.0, {"kind": "practice"}), (1.0, {})],
    ids=["method", "kind", "content"],
)
def test_different_call_with_a_used_idempotency_key_is_rejected(
    service: Service, large: Example, change: float, query: dict[str, str]
) -> None:
    token = service.token("conflict", ranked_per_day=100)
    scores_nN = large.scores()
    key = f"conflict {change} {query}"
    assert service.submit(token, "large", npy(scores_nN), key=key).status_code == 202
    scores_nN[-1, -1] += np.float32(change)
    response = service.submit(token, "large", npy(scores_nN), key=key, **query)
    assert response.status_code == 409
    assert response.json()["code"] == "request.conflict"
    other = service.submit(token, "large", npy(scores_nN), key=f"{key}, again", **query)
    assert other.status_code == 202


def test_idempotency_keys_are_separate_for_each_user(service: Service, large: Example) -> None:
    content = npy(large.scores())
    ids = {service.submit(service.token(name), "large", content, key="k").json()["id"] for name in ("eve", "frank")}
    assert len(ids) == 2


def test_silent_upload_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "IDLE_TIMEOUT_SECONDS", 0.01)
    sent = iter([{"type": "http.request", "body": b"first", "more_body": True}])

    async def receive() -> MutableMapping[str, Any]:
        message = next(sent, None)
        return await asyncio.Future() if message is None else message

    async def read() -> None:
        with FolderStorage(tmp_path).receive() as arrival:
            body = request_body.Body(
                Request({"type": "http", "headers": []}, receive), arrival, 100, 100, OpenBodies(0)
            )
            await body.receive(until=5)
            assert arrival.size == len(b"first")
            await body.receive()

    with pytest.raises(ProblemError, match="ended early"):
        run_in_loop(read())


def test_idempotency_key_of_an_interrupted_upload_can_be_reused(service: Service, large: Example) -> None:
    token = service.token("again", ranked_per_day=1)
    content = npy(large.scores())
    with _begin_upload(service, token, content, len(content) - 1, key="retry"):
        dropped = _wait_for_state(service, "again", "uploading").id
    _wait_for_state(service, "again", "expired")
    response = service.submit(token, "large", content, key="retry")
    assert response.status_code == 202
    assert response.json()["id"] != dropped


def test_idempotency_key_of_a_withdrawn_submission_can_be_reused(service: Service, large: Example) -> None:
    token = service.token("returning", ranked_per_day=2)
    content = npy(large.scores())
    first = service.submit(token, "large", content, key="retry").json()["id"]
    service.wait_until_final(first)
    withdrawn = service.client.delete(f"/submissions/{first}", headers={"Authorization": f"Bearer {token}"})
    assert withdrawn.status_code == 204
    again = service.submit(token, "large", content, key="retry")
    assert again.status_code == 202
    assert again.json()["id"] != first


def test_idempotency_key_of_a_rejected_file_returns_it_and_accepts_no_other_file(
    service: Service, large: Example
) -> None:
    token = service.token("mending", ranked_per_day=2)
    scores_nN = large.scores()
    spoiled_nN = scores_nN.copy()
    spoiled_nN[0, 0] = np.nan
    first = service.submit(token, "large", npy(spoiled_nN), key="retry").json()["id"]
    assert service.wait_until_final(first)["state"] == "rejected"
    assert service.submit(token, "large", npy(spoiled_nN), key="retry").json()["id"] == first
    other = service.submit(token, "large", npy(scores_nN), key="retry")
    assert (other.status_code, other.json()["code"]) == (409, "request.conflict")


def test_simultaneous_calls_with_one_idempotency_key_make_one_submission(service: Service, large: Example) -> None:
    token = service.token("parallel", ranked_per_day=1)
    content = npy(large.scores())
    with ThreadPoolExecutor(6) as threads:
        responses = list(threads.map(lambda _: service.submit(token, "large", content, key="same"), range(6)))
    accepted = {response.json()["id"] for response in responses if response.status_code == 202}
    assert len(accepted) == 1
    assert service.wait_until_final(accepted.pop())["state"] == "scored"
    # An upload that a newer call replaced gets an error and leaves nothing.
    overtaken = [response.json()["code"] for response in responses if response.status_code != 202]
    assert set(overtaken) <= {"upload.interrupted"}
    service.wait_until_idle()
    query = select(Submission.state).join(User).where(User.name == "parallel")
    with service.database.read() as session:
        assert sorted(session.scalars(query)) == ["expired"] * len(overtaken) + ["scored"]
