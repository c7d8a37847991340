"""``/metrics``: what the operator's Prometheus reads, and that nobody else reads it."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import update

from app.api.metrics import MEDIA_TYPE, _database_families, _Families
from app.db.base import now
from app.db.models import Evaluation, Kind, State, Submission
from app.main import create_app
from app.settings import Settings
from app.web.request_metrics import Measured, RequestMetrics
from ldsboard.problems import PROBLEMS
from tests.app.event_loop import run_in_loop
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from starlette.types import Message, Receive, Scope, Send

    from app.context import AppContext
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

TOKEN = "only-prometheus-knows-these-32-characters"
ALERTS = Path(__file__).resolve().parents[2] / "docker/alerts.yaml"
Labels = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def measured_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A server with metrics, and a scored and a rejected submission."""
    with Service(tmp_path_factory.mktemp("measured"), metrics_token=SecretStr(TOKEN)) as running:
        running.publish(toy.folder)
        token = running.token("ann")
        running.submit_and_score(token, "toy", npy(toy.scores()))
        bad = running.submit(token, "toy", npy(np.full_like(toy.scores(), np.nan)), method="bad")
        assert running.wait_until_final(bad.json()["id"])["state"] == State.REJECTED
        yield running


def _get(service: Service, authorization: str | None = f"Bearer {TOKEN}") -> httpx.Response:
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    return service.client.get(f"{service.url}/metrics", headers=headers)


def _samples(service: Service) -> dict[str, dict[Labels, float]]:
    """Return the samples of every metric by name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(_get(service).text):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def _value(samples: dict[str, dict[Labels, float]], name: str, **labels: str) -> float:
    return samples[f"ldsboard_{name}"].get(frozenset(labels.items()), 0.0)


def _requests(samples: dict[str, dict[Labels, float]], route: str, method: str = "GET", status: str = "2xx") -> float:
    return _value(samples, "request_seconds_count", route=route, method=method, status=status)


def test_server_without_a_token_has_no_metrics(service: Service) -> None:
    for authorization in (None, "Bearer", f"Bearer {TOKEN}", f"Bearer {service.token('curious')}"):
        response = _get(service, authorization)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
        assert response.json()["code"] == "request.not_found"


def test_metrics_need_their_own_token(measured_service: Service) -> None:
    own = measured_service.token("ann")
    for authorization, code in (
        (None, "auth.missing"),
        (f"Bearer {own}", "auth.invalid"),
        (f"Bearer {TOKEN[:-1]}", "auth.invalid"),
        (f"Bearer {TOKEN}x", "auth.invalid"),
        (f"Basic {TOKEN}", "auth.invalid"),
        ("Bearer", "auth.invalid"),
        ("Bearer \xfc", "auth.invalid"),
    ):
        response = _get(measured_service, authorization)
        assert (response.status_code, response.json()["code"]) == (401, code)
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "ldsboard_" not in response.text
    answer = _get(measured_service)
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
    assert answer.headers["Cache-Control"] == "no-store"
    # The token opens nothing else, and is in no log.
    assert measured_service.client.get("/users/me", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert TOKEN not in measured_service.log.read_text()


def test_metrics_show_the_queue_and_what_was_scored(measured_service: Service) -> None:
    samples = _samples(measured_service)
    states = {State.SCORED: 1.0, State.REJECTED: 1.0}
    for state in State:
        assert _value(samples, "submissions", state=state) == states.get(state, 0.0)
    for name in ("waiting_evaluations", "running_evaluations", "failed_evaluations", "retrying_evaluations"):
        assert {dict(labels)["kind"] for labels in samples[f"ldsboard_{name}"]} == {"ranked", "practice", "rescoring"}
        assert set(samples[f"ldsboard_{name}"].values()) == {0.0}
    assert set(samples["ldsboard_oldest_waiting_seconds"].values()) == {0.0}
    assert _value(samples, "connected_workers") == 1  # the server scores itself
    assert _value(samples, "submission_problems", code="scores.nonfinite") == 1
    assert _value(samples, "last_hour_scored_evaluations") == 1
    assert 0 < _value(samples, "last_hour_longest_scoring_seconds") == _value(samples, "last_hour_scoring_seconds")
    assert [_value(samples, "ready", part=part) for part in ("database", "store", "scoring")] == [1, 1, 1]
    assert 0 < _value(samples, "store_free_bytes") < _value(samples, "store_size_bytes")
    assert samples["process_resident_memory_bytes"]


@pytest.mark.database
def test_oldest_first_evaluation_ages_and_an_unknown_code_is_other(harness: ServiceHarness, toy: Example) -> None:
    harness.accept(npy(toy.scores()))
    practised = harness.accept(npy(toy.scores(seed=1)), "practised", kind=Kind.PRACTICE)
    with harness.database.write() as session:
        session.execute(update(Evaluation).values(created_at=now() - timedelta(seconds=700)))
        session.execute(
            update(Submission)
            .where(Submission.id == practised)
            .values(state=State.REJECTED, error={"code": "scores.of_an_earlier_release"})
        )
    registry = CollectorRegistry()
    with harness.database.read() as session:
        registry.register(_Families(_database_families(session, 3)))
    value = registry.get_sample_value
    assert 700 <= (value("ldsboard_oldest_waiting_seconds", {"kind": "ranked"}) or 0) < 760
    assert value("ldsboard_oldest_waiting_seconds", {"kind": "practice"}) == 0
    assert value("ldsboard_oldest_waiting_seconds", {"kind": "rescoring"}) is None
    assert value("ldsboard_submission_problems", {"code": "other"}) == 1
    assert value("ldsboard_connected_workers") == 3


def test_requests_are_counted_by_template_and_never_by_path(measured_service: Service) -> None:
    before = _samples(measured_service)
    client, url = measured_service.client, measured_service.url
    (row,) = client.get("/benchmarks/toy/leaderboard").json()["rows"]
    for path in ("/benchmarks/toy", f"/submissions/{row['id']}", "/static/style.css", "/secret-path", "/healthz"):
        client.get(f"{url}{path}")
    client.get("/benchmarks/secret-name")
    client.head(f"{url}/benchmarks/toy")
    client.post(f"{url}/benchmarks/toy")
    client.request("PROPFIND", f"{url}/healthz")
    after = _samples(measured_service)

    def more(*labels: str) -> float:
        return _requests(after, *labels) - _requests(before, *labels)

    assert more("/api/v1/benchmarks/{name}/leaderboard") == 1
    assert more("/benchmarks/{name}") == 2
    assert more("/benchmarks/{name}", "POST", "4xx") == 1
    assert more("/api/v1/benchmarks/{name}", "GET", "4xx") == 1
    assert more("/submissions/{submission_id}") == 1
    assert more("/static") == 1
    assert more("unmatched", "GET", "4xx") == 1
    assert more("/healthz") == 1
    assert more("/healthz", "other", "4xx") == 1
    assert more("/metrics") == 1
    text = _get(measured_service).text
    for raw in ("secret", "PROPFIND", row["id"], "toy"):
        assert raw not in text


def test_kept_responses_are_counted_like_new_ones(measured_service: Service) -> None:
    before = _samples(measured_service)
    for _ in range(3):
        measured_service.client.get("/benchmarks")
    assert _requests(_samples(measured_service), "/api/v1/benchmarks") - _requests(before, "/api/v1/benchmarks") == 3


def test_problems_and_received_bytes_are_counted(measured_service: Service, toy: Example) -> None:
    before = _samples(measured_service)
    token, client = measured_service.token("ann"), measured_service.client
    content = npy(toy.scores()[:-1])
    assert measured_service.submit(token, "toy", content).status_code == 422
    assert client.get("/users/me").status_code == 401
    assert client.post("/tokens", content=b"x" * 70_000).status_code == 413
    after = _samples(measured_service)
    for code in ("scores.shape", "auth.missing", "request.too_large"):
        assert _value(after, "problems_total", code=code) - _value(before, "problems_total", code=code) == 1
    codes = {dict(labels)["code"] for labels in after["ldsboard_problems_total"]}
    assert codes <= PROBLEMS.keys()
    arrived = _value(after, "received_bytes_total") - _value(before, "received_bytes_total")
    assert len(content) + 64 * 1024 < arrived <= len(content) + 70_000


def test_metrics_of_a_server_whose_store_is_away(measured_service: Service) -> None:
    folder = measured_service.settings.storage_dir
    aside = folder.rename(folder.with_name("away"))
    try:
        samples = _samples(measured_service)
    finally:
        aside.rename(folder)
    assert _value(samples, "ready", part="store") == 0
    assert _value(samples, "ready", part="database") == 1
    assert "ldsboard_store_free_bytes" not in samples
    assert _value(samples, "submissions", state="scored") == 1


def test_applications_in_one_process_count_apart() -> None:
    settings = Settings(session_key=SecretStr("signs nothing: no request is sent"))
    apps = [create_app(cast("AppContext", SimpleNamespace(settings=settings))) for _ in range(2)]
    first, second = (app.state.request_metrics for app in apps)
    first.count_bytes(5)
    registries: list[CollectorRegistry] = [first.registry, second.registry]
    assert [each.get_sample_value("ldsboard_received_bytes_total") for each in registries] == [5.0, 0.0]


def _count(behaviour: str) -> RequestMetrics:
    """Send a request to an application that raises an error, or that sends no response; return what was counted."""
    metrics = RequestMetrics()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        if behaviour == "raises":
            raise RuntimeError

    async def receive() -> Message:
        return {"type": "http.request", "body": b"12345", "more_body": False}

    async def send(_message: Message) -> None:
        raise AssertionError

    async def request() -> None:
        with suppress(RuntimeError):
            await Measured(app, metrics)({"type": "http", "method": "GET", "path": "/x"}, receive, send)

    run_in_loop(request())
    return metrics


def test_errors_of_the_server_and_lost_clients_are_counted() -> None:
    for behaviour, status, problems in (("raises", "5xx", 1.0), ("is silent", "none", None)):
        value = _count(behaviour).registry.get_sample_value
        labels = {"route": "unmatched", "method": "GET", "status": status}
        assert value("ldsboard_request_seconds_count", labels) == 1
        assert value("ldsboard_problems_total", {"code": "internal.failed"}) == problems
        assert value("ldsboard_received_bytes_total") == 5


def test_every_metric_of_the_alert_rules_exists(measured_service: Service) -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for path in ("/secret-path", "/benchmarks/toy"):
        measured_service.client.get(f"{measured_service.url}{path}")
    samples = _samples(measured_service)
    assert {
        "LDSBoardQueueWaits",
        "LDSBoardEvaluationsFailed",
        "LDSBoardNotReady",
        "LDSBoardDiskFull",
        "LDSBoardNoWorker",
    } <= {rule["alert"] for rule in rules}
    for rule in rules:
        names = re.findall(r"\bldsboard_\w+", rule["expr"])
        assert names, rule
        assert set(names) <= samples.keys(), rule
        for code in re.findall(r'code="([^"]*)"', rule["expr"]):
            assert code in PROBLEMS
        for route in re.findall(r'route="([^"]*)"', rule["expr"]):
            assert _requests(samples, route) > 0
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")
