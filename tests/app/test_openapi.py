"""Whatever the description of the API allows, and what it does not, is answered as it says, and never by a failure of ours."""

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
from app.settings import Settings
from tests.app.service import PATIENCE_SECONDS, Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.rooms import Rooms
    from tests.app.benchmarks import Example

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A server of its own, with something on it to find."""
    with Service(tmp_path_factory.mktemp("fuzzed")) as service:
        service.publish(toy.folder)
        service.scored(service.token("ann"), "toy", npy(toy.scores(0.5)))
        yield service
        assert "request.failed" not in service.log.read_text()


# The description needs no rooms but the settings; those come with the server that is asked.
ROOMS = cast("Rooms", SimpleNamespace(settings=Settings(session_key=SecretStr("signs nothing: it is only described"))))
schema = schemathesis.openapi.from_dict(create_app(ROOMS).openapi())


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_call_answers_as_it_is_described(case: Any, fuzzed: Service) -> None:
    headers = {"Authorization": f"Bearer {fuzzed.token('bob')}"}
    case.call_and_validate(base_url=fuzzed.url, headers=headers, checks=CHECKS, timeout=PATIENCE_SECONDS)
