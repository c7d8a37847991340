"""The size limit of request bodies that are not score files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.web.body_limit import LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.service import Service


def _refused(service: Service, content: bytes | Iterator[bytes]) -> None:
    refused = service.client.post("/tokens", content=content, headers={"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (413, "request.too_large")


def test_large_body_is_rejected_before_authentication(service: Service) -> None:
    _refused(service, b" " * (LIMIT_BYTES + 1))


def test_every_call_with_a_json_body_has_the_limit(service: Service) -> None:
    calls = [
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in service.client.get("/openapi.json").json()["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert ("PUT", "/users/{name}/ban") in calls
    json = {"Content-Type": "application/json"}
    for method, path in calls:
        refused = service.client.request(method, path, content=b" " * (LIMIT_BYTES + 1), headers=json)
        assert refused.json()["code"] in {"request.too_large", "auth.missing"}, path


def test_endless_body_is_rejected_at_the_limit(service: Service) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            yield b" " * 2**20
            sent += 1

    _refused(service, endless())
    assert sent < 100


def test_body_of_exactly_the_limit_is_read(service: Service) -> None:
    answer = service.client.post(
        "/tokens", content=b"{}".ljust(LIMIT_BYTES), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {401, 422}
