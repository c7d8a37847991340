"""Log records as JSON, and the id that joins a request, its response and its records."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, toy: Example, wide: Example) -> Iterator[Service]:
    """A server that writes its log as JSON."""
    running = Service(tmp_path_factory.mktemp("logged"))
    running.environment["LDSBOARD_LOG_FORMAT"] = "json"
    running.publish(toy.folder)
    running.publish(wide.folder)
    with running:
        yield running


def records(service: Service, **fields: str) -> list[dict[str, Any]]:
    """Return the records of the log that have these fields; every line from the first record on is one."""
    lines = service.log.read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [record for record in found if fields.items() <= record.items()]


@pytest.mark.parametrize("path", ["/api/v1/benchmarks", "/", "/static/style.css", "/missing", "/api/v1/submissions/x"])
def test_every_response_names_its_request(logged: Service, path: str) -> None:
    first, second = (logged.client.get(f"{logged.url}{path}").headers["x-request-id"] for _ in range(2))
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    assert first != second


@pytest.mark.parametrize(
    ("given", "kept"),
    [("job-7.retry_2", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("a=b", False), ("", False)],
)
def test_only_a_plain_id_of_the_client_is_kept(logged: Service, given: str, kept: bool) -> None:
    answer = logged.client.get("/benchmarks", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) == kept


def test_records_lead_from_a_request_to_the_score(logged: Service, toy: Example) -> None:
    view = logged.submit_and_score(logged.token("ada"), "toy", npy(toy.scores()))
    (accepted,) = records(logged, event="submission.accepted", submission=view["id"])
    assert {"timestamp", "level", "request"} <= accepted.keys()
    (scored,) = records(logged, event="submission.scored", submission=view["id"])
    assert "request" not in scored


def test_request_of_the_client_is_in_the_record_of_its_submission(logged: Service, toy: Example) -> None:
    headers = {"Authorization": f"Bearer {logged.token('bob')}", "X-Request-ID": "job-8"}
    content = npy(toy.scores(seed=8))
    answer = logged.client.put("/benchmarks/toy/submissions?method=m", content=content, headers=headers)
    (accepted,) = records(logged, request="job-8")
    assert accepted["submission"] == answer.json()["id"]
    # A request after it on the same connection has an id of its own.
    assert logged.client.get("/benchmarks").headers["x-request-id"] != "job-8"


def test_failure_and_its_response_name_the_request(logged: Service, toy: Example, tmp_path: Path) -> None:
    del toy, tmp_path
    with logged.database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE benchmark RENAME TO benchmark_")
    try:
        answer = logged.client.get("/benchmarks", headers={"X-Request-ID": "failing"})
    finally:
        with logged.database.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE benchmark_ RENAME TO benchmark")
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "failing")
    assert "request=failing" in answer.json()["detail"]
    (failed,) = records(logged, request="failing")
    assert (failed["event"], failed["level"]) == ("request.failed", "error")
    assert "no such table" in failed["exception"]


def test_unknown_form_of_the_log_is_refused(logged: Service) -> None:
    refused = logged.run("doctor", environment=logged.environment | {"LDSBOARD_LOG_FORMAT": "xml"})
    assert (refused.returncode, "LDSBOARD_LOG_FORMAT" in refused.stderr) == (2, True)
