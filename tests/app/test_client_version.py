"""The version header of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.client import VERSION_HEADER, Client, RefusedError

if TYPE_CHECKING:
    from tests.app.service import Service


@pytest.mark.parametrize(
    ("stated", "status", "code"),
    [
        ("0.0.9", 422, "client.outdated"),
        ("0.1.0", 200, None),
        ("0.1.0.dev1", 200, None),
        ("10.0.0", 200, None),
        ("newest", 422, "request.invalid"),
    ],
)
def test_outdated_client_is_rejected(service: Service, stated: str, status: int, code: str | None) -> None:
    response = service.client.get("/benchmarks", headers={VERSION_HEADER: stated})
    assert response.status_code == status
    if code:
        assert response.json()["code"] == code


def test_client_reports_its_version(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(service.url) as client:
        client.benchmark("toy")
    monkeypatch.setattr("ldsboard.client.version", lambda _: "0.0.1")
    with Client(service.url) as client, pytest.raises(RefusedError, match=r"got ldsboard 0\.0\.1") as refused:
        client.benchmark("toy")
    assert refused.value.problem.code == "client.outdated"
    assert "pip install --upgrade ldsboard" in refused.value.problem.hint
