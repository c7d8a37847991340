"""API calls reject unknown and repeated query parameters."""

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
    """Return method, path and query parameters of every call in the OpenAPI description."""
    described = service.client.get("/openapi.json").json()["paths"]
    return [
        (method, path, [each["name"] for each in call.get("parameters", ()) if each["in"] == "query"])
        for path, calls in described.items()
        for method, call in calls.items()
        if method in METHODS and path.startswith("/api/v1/")
    ]


def _rejected_names(response: httpx.Response) -> str:
    assert (response.status_code, response.json()["code"]) == (422, "request.invalid"), response.text
    return str(response.json()["got"])


def test_every_call_rejects_unknown_and_repeated_parameters(service: Service) -> None:
    calls = _calls(service)
    assert len(calls) > 20
    assert sum(len(known) for _, _, known in calls) > 15
    with httpx.Client(base_url=service.url) as client:
        for method, path, known in calls:
            assert _rejected_names(client.request(method, path, params={"dryrun": "true"})) == "'dryrun'"
            for name in set(known) - {"tags"}:  # a list
                assert _rejected_names(client.request(method, path, params={name: ["1", "2"]})) == repr(name)


def test_openapi_description_rejects_query_parameters(service: Service) -> None:
    assert _rejected_names(service.client.get("/openapi.json", params={"x": "1"})) == "'x'"


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
    assert _rejected_names(refused) == got
    assert refused.json()["hint"] == hint
    assert service.client.get("/users/me/submissions", headers=headers).json() == []


def test_tags_of_a_single_upload_are_repeated_parameters(service: Service, toy: Example) -> None:
    token = service.token("tagger")
    sent = service.client.put(
        "/benchmarks/toy/submissions",
        params={"method": "ours", "kind": "practice", "tags": ["one", "two"], "description": "Of both."},
        content=npy(toy.scores()),
        headers={"Authorization": f"Bearer {token}"},
    )
    assert sent.status_code == 202, sent.text
    assert (sent.json()["tags"], sent.json()["description"]) == (["one", "two"], "Of both.")


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/?utm_source=a&utm_source=b", 200),
        ("/benchmarks/toy?sort=lds&utm_source=a", 200),
        ("/benchmarks/toy?sort=lds&sort=cost", 422),
        ("/benchmarks/toy?after=0&after=0", 422),
        ("/compare?id=x&id=y", 404),
    ],
)
def test_pages_ignore_unknown_parameters_and_reject_repeated_ones(service: Service, page: str, status: int) -> None:
    assert service.client.get(f"{service.url}{page}", headers={"Accept": "text/html"}).status_code == status
