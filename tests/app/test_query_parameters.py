"""Every call of the API refuses query parameters that it does not take, and its own when they are given twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service

METHODS = {"get", "put", "post", "patch", "delete"}


def _calls(service: Service) -> list[tuple[str, str, list[str]]]:
    """Return method, path and query parameters of every call that is described."""
    described = service.client.get("/openapi.json").json()["paths"]
    return [
        (method, path, [each["name"] for each in call.get("parameters", ()) if each["in"] == "query"])
        for path, calls in described.items()
        for method, call in calls.items()
        if method in METHODS and path.startswith("/api/v1/")
    ]


def _names(response: httpx.Response) -> str:
    assert (response.status_code, response.json()["code"]) == (422, "request.invalid"), response.text
    return str(response.json()["got"])


def test_every_call_rejects_unknown_and_repeated_parameters(service: Service) -> None:
    calls = _calls(service)
    assert len(calls) > 20
    assert sum(len(known) for _, _, known in calls) > 15
    with httpx.Client(base_url=service.url) as client:
        for method, path, known in calls:
            assert _names(client.request(method, path, params={"dryrun": "true"})) == "'dryrun'"
            for name in known:
                assert _names(client.request(method, path, params={name: ["1", "2"]})) == repr(name)


@pytest.mark.parametrize(
    ("query", "got", "hint"),
    [
        (
            "dryrun=true&visiblity=private",
            "'dryrun', 'visiblity'",
            "Did you mean dry_run, visibility? Nothing was done.",
        ),
        ("kind=practice&kind=ranked", "'kind'", "Give each of these once. Nothing was done."),
        ("benchmark-version=2", "'benchmark-version'", "Nothing was done."),
        ("Method=theirs", "'Method'", "Did you mean method? Nothing was done."),
    ],
)
def test_submission_with_misspelt_or_repeated_parameters_is_rejected(
    service: Service, toy: Example, query: str, got: str, hint: str
) -> None:
    token = service.token("typist")
    headers = {"Authorization": f"Bearer {token}"}
    address = f"/benchmarks/toy/submissions?method=ours&{query}"
    refused = service.client.put(address, content=npy(toy.scores()), headers=headers)
    assert _names(refused) == got
    assert refused.json()["hint"] == hint
    assert service.client.get("/users/me/submissions", headers=headers).json() == []
