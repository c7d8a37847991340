"""NUL characters in an address, a header, a body or a form are refused on SQLite as on PostgreSQL, and nothing is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.db.accounts import Role
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

PUBLISHER = {
    "method": "ours",
    "issuer": "https://token.actions.githubusercontent.com",
    "repository": "a/b",
    "repository_id": "1",
    "owner_id": "2",
    "workflow": ".github/workflows/lds.yml",
    "called_workflow": "a/c/.github/workflows/score.yml",
    "environment": "release",
    "branch": "main",
}
TOKEN: dict[str, Any] = {"name": "notebook", "scopes": ["submit"]}
EDIT: dict[str, Any] = {
    "title": "Title",
    "description": "Text",
    "tags": ["a"],
    "paper": "https://example.org/p",
    "code": "https://example.org/c",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, toy: Example, cluster: Cluster
) -> Iterator[Service]:
    settings = {} if request.param == "sqlite" else {"database_url": cluster.create()}
    with Service(tmp_path_factory.mktemp("nul"), webhook_hosts="localhost", **settings) as service:
        service.publish(toy.folder)
        service.token("bob")
        yield service


@pytest.fixture(scope="module")
def headers(served: Service) -> dict[str, str]:
    token = served.token("ada", role=Role.ADMIN, promote=True, ranked_per_day=1000)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def submission(served: Service, headers: dict[str, str], toy: Example) -> str:
    token = headers["Authorization"].split()[1]
    return str(served.submit_and_score(token, "toy", npy(toy.scores()))["id"])


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/benchmarks/a%00"),
        ("GET", "/benchmarks/toy%00/leaderboard"),
        ("GET", "/submissions/%ff%00"),
        ("GET", "/compare?a=%00&b=2"),
        ("GET", "/benchmarks/toy/history?owner=%00&method=x"),
        ("GET", "/benchmarks/toy/history?owner=ada&method=x%00"),
        ("DELETE", "/users/a%00/ban"),
        ("DELETE", "/submissions/%00"),
        ("GET", "{site}/benchmarks/toy/methods/ada/x%00"),
        ("GET", "{site}/submissions/%00"),
    ],
)
def test_nul_in_an_address_is_refused(served: Service, headers: dict[str, str], method: str, address: str) -> None:
    response = served.client.request(method, address.format(site=served.url), headers=headers)
    assert response.status_code == 422, response.text


def fields(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a call's fields with NUL in each of the texts in turn."""
    for name, value in given.items():
        yield given | {name: [f"{value[0]}\0"] if isinstance(value, list) else f"{value}\0"}


@pytest.mark.parametrize(
    ("method", "address", "given"),
    [
        ("POST", "/tokens", TOKEN),
        ("POST", "/publishers", PUBLISHER),
        ("POST", "/webhooks", {"url": "https://localhost/hook"}),
        ("PUT", "/users/bob/ban", {"reason": "Spam"}),
        ("PUT", "/submissions/{submission}/suspension", {"reason": "Spam"}),
        ("PATCH", "/submissions/{submission}", EDIT),
        (
            "POST",
            "/submissions",
            {"benchmark": "toy", "method": "m", "title": "Title", "size": 1808, "sha256": "0" * 64},
        ),
        ("POST", "/oidc/mint-token", {"owner": "ada", "method": "m", "token": "a.b.c"}),
    ],
)
def test_nul_in_a_field_is_refused(
    served: Service, headers: dict[str, str], submission: str, method: str, address: str, given: dict[str, Any]
) -> None:
    before = served.rows()
    for changed in fields(given):
        response = served.client.request(method, address.format(submission=submission), headers=headers, json=changed)
        assert response.status_code == 422, (changed, response.text)
    assert served.rows() == before
    if "oidc" not in address:
        accepted = served.client.request(method, address.format(submission=submission), headers=headers, json=given)
        assert accepted.is_success, accepted.text


def test_nul_in_the_metadata_of_a_file_is_refused(served: Service, headers: dict[str, str], toy: Example) -> None:
    before = served.rows()
    token = headers["Authorization"].split()[1]
    for query in ({"method": "a\0"}, {"title": "\0"}, {"description": "\0"}, {"tags": "\0"}, {"branch": "\0"}):
        assert served.submit(token, "toy", npy(toy.scores()), **query).status_code == 422
    assert served.rows() == before
