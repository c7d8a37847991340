"""Quotas of ranked submissions for each day and each version."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from app.db.base import now
from app.db.models import Submission
from tests.app.benchmarks import write_benchmark
from tests.app.service import PATIENCE_SECONDS, npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture
def content(toy: Example) -> bytes:
    return npy(toy.scores())


def test_simultaneous_uploads_cannot_exceed_the_daily_quota(service: Service, content: bytes) -> None:
    token = service.token("racer")
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda i: service.submit(token, "toy", content, method=f"m{i}"), range(8)))
    assert Counter(response.status_code for response in responses) == {202: 5, 429: 3}
    accepted = [response.json()["id"] for response in responses if response.status_code == 202]
    assert len(set(accepted)) == 5
    assert all(service.wait_until_final(submission_id)["state"] == "scored" for submission_id in accepted)


def test_practice_submissions_are_not_counted(service: Service, content: bytes) -> None:
    token = service.token("learner", ranked_per_day=1)
    for method in ("a", "b", "c"):
        assert service.submit(token, "toy", content, kind="practice", method=method).status_code == 202
    assert service.submit(token, "toy", content).status_code == 202
    assert service.submit(token, "toy", content).status_code == 429
    assert service.submit(token, "toy", content, kind="practice").status_code == 202


def test_daily_quota_is_freed_when_the_oldest_attempt_is_a_day_old(service: Service, content: bytes) -> None:
    token = service.token("waiter", ranked_per_day=2)
    ids = [service.submit(token, "toy", content, method=method).json()["id"] for method in ("a", "b")]
    _age(service, ids[0], timedelta(hours=23))
    response = service.submit(token, "toy", content)
    assert response.status_code == 429
    assert 3500 < int(response.headers["Retry-After"]) <= 3600
    _age(service, ids[0], timedelta(hours=1, seconds=1))
    assert service.submit(token, "toy", content).status_code == 202


def _is_current(service: Service, version: int) -> bool:
    return bool(service.client.get("/benchmarks/metered").json()["version"] == version)


def test_version_quota_does_not_reset_and_is_separate_for_each_version(
    service: Service, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for version in (1, 2):
        folder = tmp_path_factory.mktemp("metered")
        service.publish(write_benchmark(folder, "metered", version=version).folder)
        until(partial(_is_current, service, version), f"version {version} as the current one")
        token = service.token("metered", ranked_per_day=10, ranked_per_version=1)
        assert service.submit(token, "metered", content).json()["benchmark"]["version"] == version
        response = service.submit(token, "metered", content)
        assert response.status_code == 429
        assert "does not reset" in response.json()["hint"]
        assert "Retry-After" not in response.headers


def _age(service: Service, submission_id: str, age: timedelta) -> None:
    """Move the creation time of a submission into the past by `age`."""
    created_at = service.row(submission_id).created_at - age
    assert created_at < now()
    with service.database.write() as session:
        session.execute(update(Submission).where(Submission.id == submission_id).values(created_at=created_at))


def test_exhausted_quota_is_reported_before_the_body_is_sent(service: Service, content: bytes) -> None:
    token = service.token("early", ranked_per_day=0)
    with socket.create_connection(("localhost", service.port), PATIENCE_SECONDS) as connection:
        request = (
            "PUT /api/v1/benchmarks/toy/submissions?method=ours HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(request.encode())
        assert connection.makefile("rb").readline() == b"HTTP/1.1 429 Too Many Requests\r\n"
