"""The API call that shows the history of a method, over HTTP with scored files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def sent(service: Service, toy: Example) -> dict[str, str]:
    """Return the ids of a ranked and of a private practice submission of the method "over-time"."""
    token = service.token("historian")
    fields = {"method": "over-time", "commit": "a" * 40, "branch": "main"}
    ranked = service.submit_and_score(token, "toy", npy(toy.scores(0.5)), **fields)
    private = {"kind": "practice", "visibility": "private", "commit": "b" * 40, "number": "7", "branch": "fix"}
    practice = service.submit(token, "toy", npy(toy.scores(0.9)), **fields | private).json()
    service.wait_until_idle()
    return {"token": token, "ranked": ranked["id"], "practice": practice["id"]}


def _history(service: Service, token: str | None = None, **query: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return service.client.get("/benchmarks/toy/history", params=query, headers=headers)


def test_api_shows_the_history_to_the_owner_and_its_open_part_to_all(service: Service, sent: dict[str, str]) -> None:
    names = {"owner": "historian", "method": "over-time"}
    for _ in range(2):  # the second response to a visitor is a kept one
        own = _history(service, sent["token"], **names).json()
        assert [row["id"] for row in own["rows"]] == [sent["practice"], sent["ranked"]]
        shown = _history(service, **names).json()
        assert [row["id"] for row in shown["rows"]] == [sent["ranked"]]
    assert own["baseline"] == shown["baseline"] == sent["ranked"]
    newest = own["rows"][0]
    origin = {"commit": "b" * 40, "number": 7, "branch": "fix", "verified": False}
    assert (newest["provenance"], newest["kind"], newest["visibility"]) == (origin, "practice", "private")
    baseline = service.client.get(f"/submissions/{sent['ranked']}").json()
    headers = {"Authorization": f"Bearer {sent['token']}"}
    pair = {"a": sent["practice"], "b": sent["ranked"]}
    compared = service.client.get("/compare", params=pair, headers=headers).json()
    assert compared["part"] == "public"
    assert newest["difference"].items() >= {n: compared[n] for n in ("difference", "std_error", "p_value")}.items()
    ranking = _history(service, **names, kind="ranked").json()
    assert (ranking["part"], ranking["rows"][0]["lds"]) == ("ranking", baseline["hidden"]["lds"])
    assert (shown["part"], shown["rows"][0]["lds"]) == ("public", baseline["public"]["lds"])


def test_latest_of_the_default_branch_is_the_newest_row_without_a_pull_request(
    service: Service, toy: Example, sent: dict[str, str]
) -> None:
    query = {"owner": "historian", "method": "over-time", "branch": "main"}
    again = {"method": "over-time", "branch": "main", "number": "9", "commit": "c" * 40}
    resent = service.submit(sent["token"], "toy", npy(toy.scores(0.5)), **again).json()
    assert resent["id"] == sent["ranked"], "a pull request from a branch of the same name has the same file"
    rows = _history(service, sent["token"], **query).json()["rows"]
    latest = next(row for row in rows if row["provenance"].get("number") is None)
    assert (latest["id"], latest["provenance"]["commit"]) == (sent["ranked"], "a" * 40)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "withheld"},
        {"method": "Upper"},
        {"owner": ""},
        {"owner": "o" * 65},
        {"kind": "both"},
        {"limit": 0},
        {"limit": 201},
        {"before": "yesterday"},
        {"brunch": "main"},
        {"branch": ["main", "main"]},
        {"version": 0},
    ],
    ids=str,
)
def test_invalid_query_is_rejected(service: Service, wrong: dict[str, Any]) -> None:
    refused = _history(service, **{"owner": "historian", "method": "over-time"} | wrong)
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")


def test_unknown_owner_has_an_empty_history_and_an_unknown_benchmark_is_an_error(service: Service) -> None:
    empty = _history(service, owner="nobody-here", method="over-time")
    assert (empty.status_code, empty.json()["rows"], empty.json()["baseline"]) == (200, [], None)
    unknown = service.client.get("/benchmarks/none/history", params={"owner": "a", "method": "b"})
    assert unknown.json()["code"] == "benchmark.unknown"
    assert _history(service, owner="a", method="b", version=9).json()["code"] == "benchmark.unknown"
