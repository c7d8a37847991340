"""Valid and invalid API requests get responses that conform to the OpenAPI description, and never a server error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.pages.site import PAGE_MODULES
from app.settings import Settings
from app.submissions.field_types import PATTERN_DESCRIPTIONS
from tests.app.commands import run_in_process
from tests.app.service import PATIENCE_SECONDS, Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.context import AppContext
    from tests.app.benchmarks import Example

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A separate server with one benchmark and one scored submission."""
    with Service(tmp_path_factory.mktemp("fuzzed")) as service:
        service.publish(toy.folder)
        service.submit_and_score(service.token("ann"), "toy", npy(toy.scores(0.5)))
        yield service
        assert "request.failed" not in service.log.read_text()


@pytest.fixture(scope="module")
def caller(fuzzed_service: Service) -> dict[str, str]:
    return {"Authorization": f"Bearer {fuzzed_service.token('bob')}"}


# The OpenAPI description needs only the settings; the tested server has a complete context.
CONTEXT = cast(
    "AppContext", SimpleNamespace(settings=Settings(session_key=SecretStr("signs nothing: it is only described")))
)
DESCRIBED = create_app(CONTEXT).openapi()
schema = schemathesis.openapi.from_dict(DESCRIBED)


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_call_conforms_to_its_description(case: Any, fuzzed_service: Service, caller: dict[str, str]) -> None:
    case.call_and_validate(base_url=fuzzed_service.url, headers=caller, checks=CHECKS, timeout=PATIENCE_SECONDS)


def test_only_public_calls_are_described_without_security() -> None:
    free = set()
    for path, calls in DESCRIBED["paths"].items():
        free |= {f"{method} {path}" for method, call in calls.items() if "security" not in call}
    assert free == {
        "get /api/v1/benchmarks",
        "get /api/v1/benchmarks/{name}",
        "get /api/v1/benchmarks/{name}/public.npz",
        "get /api/v1/benchmarks/{name}/kit.zip",
        "get /api/v1/benchmarks/{name}/leaderboard",
        "get /api/v1/benchmarks/{name}/snapshots",
        "get /api/v1/benchmarks/{name}/versions/{number}/{day}",
        "get /api/v1/benchmarks/{name}/versions/{number}/{day}/{file}",
        "post /api/v1/benchmarks/{name}/check",
        "get /api/v1/oidc/audience",
        "post /api/v1/oidc/mint-token",
        "get /healthz",
        "get /readyz",
    }


def test_dry_run_has_its_own_response_schema() -> None:
    answers = DESCRIBED["paths"]["/api/v1/benchmarks/{name}/submissions"]["put"]["responses"]
    shapes = {status: answers[status]["content"]["application/json"]["schema"]["$ref"] for status in ("200", "202")}
    assert shapes == {
        "200": "#/components/schemas/DryRunView",
        "202": "#/components/schemas/SubmissionView",
    }


def _patterns(node: Any) -> set[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    own = {node["pattern"]} if isinstance(node, dict) and isinstance(node.get("pattern"), str) else set()
    return own.union(*map(_patterns, children))


def test_every_pattern_has_a_description_in_words() -> None:
    assert _patterns(DESCRIBED) == set(PATTERN_DESCRIPTIONS)


def test_head_answers_like_get(fuzzed_service: Service) -> None:
    headers = {"Authorization": f"Bearer {fuzzed_service.token('ann')}"}
    row = fuzzed_service.client.get("/benchmarks/toy/leaderboard").json()["rows"][0]
    values = {"name": "toy", "submission_id": row["id"], "part": "train", "index": 0, "provider": "github"}
    values |= {"owner": row["owner"], "method": row["method"], "publisher_id": 1}
    assert run_in_process(fuzzed_service, "snapshot", "toy").exit_code == 0
    (taken,) = fuzzed_service.client.get("/benchmarks/toy/snapshots").json()
    values |= {"number": 1, "day": taken["date"], "file": "leaderboard.json"}
    pages = {route.path for module in PAGE_MODULES for route in module.router.routes if "GET" in route.methods}
    paths = {path for path, calls in DESCRIBED["paths"].items() if "get" in calls} | pages
    assert len(paths) > 25
    for path in sorted(paths):
        address = f"{fuzzed_service.url}{path.format(**values)}"
        shown, looked = (fuzzed_service.client.request(method, address, headers=headers) for method in ("GET", "HEAD"))
        assert (looked.status_code, looked.content) == (shown.status_code, b""), path
        assert looked.headers.get("Content-Length") == shown.headers.get("Content-Length"), path
