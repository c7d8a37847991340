"""The calls of the API for CI identities, and what the token of a run may do, on a running server."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from app.accounts import users
from app.db.accounts import Publisher, Role, Scope, Token
from tests.app.oidc.provider import COMMIT
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.benchmarks import Example
    from tests.app.oidc.runs import JSON, Ci
    from tests.app.service import Service


def test_run_exchanges_its_identity_for_a_token(ci: Ci) -> None:
    publisher = ci.register(environment="", branch="main")
    assert publisher["provider"] == "github"
    assert (publisher["environment"], publisher["used_at"]) == (None, None)
    answer = ci.exchange(ci.identity_token())
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    view = answer.json()
    assert view["token"].startswith("ldsb_")
    assert (view["owner"], view["method"], view["scopes"]) == (ci.name, "ours", ["submit"])
    account = ci.call("GET", "/users/me", view["token"]).json()
    assert (account["name"], account["token"]["method"], account["token"]["scopes"]) == (ci.name, "ours", ["submit"])
    assert account["token"]["expires_at"] == view["expires_at"]
    (listed,) = ci.call("GET", "/publishers").json()
    assert listed["used_at"] is not None


def test_audience_is_the_public_address_of_the_server(ci: Ci) -> None:
    assert ci.audience == ci.service.url  # which the server takes for PUBLIC_URL if it is not set
    ci.register()
    assert ci.exchange(ci.identity_token(aud="https://other.example")).json()["code"] == "oidc.audience"


def test_one_of_twenty_simultaneous_exchanges_succeeds(ci: Ci) -> None:
    ci.register()
    token, barrier = ci.identity_token(), threading.Barrier(20)

    def exchange(_: int) -> tuple[int, str]:
        barrier.wait()
        answer = ci.exchange(token)
        return answer.status_code, answer.json().get("code", "")

    with ThreadPoolExecutor(20) as executor:
        answers = sorted(executor.map(exchange, range(20)))
    assert answers == [(200, ""), *[(422, "oidc.used")] * 19]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"token": "x y", "method": "ours", "owner": "alice"}, "token"),
        ({"token": "x" * 32769, "method": "ours", "owner": "alice"}, "token"),
        ({"method": "ours", "owner": "alice"}, "token"),
        ({"token": "x.y.z", "owner": "alice"}, "method"),
        ({"token": "x.y.z", "method": "Ours", "owner": "alice"}, "method"),
        ({"token": "x.y.z", "method": "ours"}, "owner"),
        ({"token": "x.y.z", "method": "ours", "owner": None}, "owner"),
        ({"token": "x.y.z", "method": "ours", "owner": ""}, "owner"),
        ({"token": "x.y.z", "method": "ours", "owner": "alice", "repository": "a/b"}, "repository"),
    ],
)
def test_malformed_request_is_refused(oidc_service: Service, body: JSON, place: str) -> None:
    answer = oidc_service.client.post("/oidc/mint-token", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert place in answer.json()["expected"]


def test_unknown_query_parameters_are_refused(ci: Ci) -> None:
    for path in ("/oidc/audience?owner=x", "/publishers?x=1"):
        assert ci.call("GET", path).json()["code"] == "request.invalid"


@pytest.mark.parametrize("way", ["single", "multipart"])
def test_submission_of_a_run_has_verified_provenance(ci: Ci, toy: Example, way: str) -> None:
    ci.register()
    token, content = ci.mint(), npy(toy.scores(0.5, seed=len(way)))
    stated = {"repository": "evil/claims", "commit": "f" * 40, "url": "https://evil.example/"}
    if way == "single":
        sent = ci.service.submit(token, "toy", content, kind="practice", **stated)
    else:
        sha256 = hashlib.sha256(content).hexdigest()
        announced = {"benchmark": "toy", "method": "ours", "kind": "practice", "size": len(content), "sha256": sha256}
        started = ci.call("POST", "/submissions", token, json=announced | {"provenance": stated}).json()
        upload = f"/submissions/{started['id']}"
        assert ci.call("PUT", f"{upload}/parts/0", token, content=content).status_code == 200
        sent = ci.call("POST", f"{upload}/complete", token)
    assert sent.status_code == 202, sent.text
    assert ci.service.client.get(f"/submissions/{sent.json()['id']}").json()["provenance"] == {
        "repository": "octo-org/octo-repo",
        "commit": COMMIT,
        "branch": "main",
        "provider": "github",
        "url": f"{ci.provider.address}/octo-org/octo-repo/actions/runs/4242",
        "verified": True,
    }


def test_stated_provenance_is_never_verified(ci: Ci, toy: Example) -> None:
    content = npy(toy.scores(0.5, seed=7))
    assert ci.service.submit(ci.token, "toy", content, verified="true").json()["code"] == "request.invalid"
    sent = ci.service.submit(ci.token, "toy", content, kind="practice", repository="octo-org/octo-repo", commit=COMMIT)
    assert sent.json()["provenance"]["verified"] is False


def test_token_of_a_run_submits_only_its_method(ci: Ci, toy: Example) -> None:
    ci.register()
    token, content = ci.mint(), npy(toy.scores(0.5, seed=8))
    for options in ({}, {"dry_run": "true"}):
        refused = ci.service.submit(token, "toy", content, method="theirs", **options)
        assert (refused.status_code, refused.json()["code"]) == (403, "auth.method")
    announced = {"benchmark": "toy", "method": "theirs", "size": len(content), "sha256": "0" * 64}
    assert ci.call("POST", "/submissions", token, json=announced).json()["code"] == "auth.method"
    own = ci.call("POST", "/submissions", json=announced).json()
    for path in (f"/submissions/{own['id']}/parts", f"/submissions/{own['id']}/parts/0"):
        call = ci.call("PUT", path, token, content=b"x") if path.endswith("0") else ci.call("GET", path, token)
        assert call.json()["code"] == "auth.method"
    assert ci.call("DELETE", f"/submissions/{own['id']}/parts").status_code == 204


def test_token_of_a_run_reads_only_its_method(ci: Ci, toy: Example) -> None:
    ci.register()
    token, sent = ci.mint(), {}
    for number, (method, visibility) in enumerate(
        [("ours", "private"), ("theirs", "private"), ("theirs", "anonymous"), ("theirs", "public")]
    ):
        content = npy(toy.scores(0.5, seed=20 + number))
        answer = ci.service.submit(ci.token, "toy", content, kind="practice", method=method, visibility=visibility)
        sent[method, visibility] = answer.json()["id"]

    def read(method: str, visibility: str) -> httpx.Response:
        return ci.call("GET", f"/submissions/{sent[method, visibility]}", token)

    assert read("ours", "private").json()["method"] == "ours"
    assert (read("theirs", "private").status_code, read("theirs", "private").json()["code"]) == (403, "auth.method")
    stranger = ci.service.client.get(f"/submissions/{sent['theirs', 'anonymous']}").json()
    assert stranger["owner"].startswith("anonymous-")
    assert read("theirs", "anonymous").json()["owner"] == stranger["owner"]
    assert read("theirs", "public").status_code == 200
    listed = ci.call("GET", "/users/me/submissions", token).json()
    assert [view["id"] for view in listed] == [sent["ours", "private"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/1"),
        ("GET", "/publishers"),
        ("POST", "/publishers"),
        ("DELETE", "/publishers/1"),
        ("GET", "/users/me/export"),
        ("DELETE", "/users/me?confirm=x"),
        ("PATCH", "/submissions/0000000000000000"),
        ("DELETE", "/submissions/0000000000000000"),
    ],
)
def test_token_of_a_run_manages_nothing(ci: Ci, method: str, path: str) -> None:
    ci.register()
    body = ci.fields if path == "/publishers" else {"name": "x", "scopes": ["submit"]} if path == "/tokens" else {}
    answer = ci.call(method, path, ci.mint(), **({"json": body} if method in ("POST", "PATCH") else {}))
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.method")


def test_token_of_a_run_of_an_admin_has_no_rights_of_an_admin(ci: Ci, toy: Example) -> None:
    content = npy(toy.scores(0.5, seed=30))
    foreign = ci.service.token("somebody-else")
    sent = ci.service.submit(foreign, "toy", content, kind="practice", visibility="private").json()["id"]
    with ci.service.database.write() as session:
        users.add_user(session, ci.name, role=Role.ADMIN, promote=True)
    ci.register()
    assert ci.call("GET", f"/submissions/{sent}").status_code == 200
    refused = ci.call("GET", f"/submissions/{sent}", ci.mint())
    assert (refused.status_code, refused.json()["code"]) == (404, "submission.unknown")


def test_removed_publisher_ends_its_tokens_at_once(ci: Ci) -> None:
    publisher = ci.register()
    token = ci.mint()
    assert ci.call("DELETE", f"/publishers/{publisher['id']}").status_code == 204
    assert ci.call("GET", "/users/me", token).json()["code"] == "auth.invalid"
    assert ci.call("DELETE", f"/publishers/{publisher['id']}").json()["code"] == "publisher.unknown"
    assert ci.exchange(ci.identity_token()).json()["code"] == "oidc.publisher"


def test_removed_publisher_cancels_the_uploads_that_runs_began(ci: Ci, toy: Example) -> None:
    publisher, run, begun = ci.register(), ci.mint(), {}
    for sender, method, seed in ((run, "ours", 40), (ci.token, "ours", 41), (ci.token, "theirs", 42)):
        content = npy(toy.scores(0.5, seed=seed))
        sha256 = hashlib.sha256(content).hexdigest()
        announced = {"benchmark": "toy", "method": method, "kind": "practice", "size": len(content), "sha256": sha256}
        started = ci.call("POST", "/submissions", sender, json=announced | {"provenance": {"branch": "x"}}).json()
        path = f"/submissions/{started['id']}"
        assert ci.call("PUT", f"{path}/parts/0", started["capability"], content=content).status_code == 200
        begun[sender, method] = path, started["capability"]
    assert ci.call("DELETE", f"/publishers/{publisher['id']}").status_code == 204
    path, capability = begun[run, "ours"]
    refused = ci.call("POST", f"{path}/complete", capability)
    assert (refused.status_code, refused.json()["code"]) == (410, "upload.expired")
    for path, capability in (begun[ci.token, "ours"], begun[ci.token, "theirs"]):
        assert ci.call("POST", f"{path}/complete", capability).status_code == 202


def test_audit_log_and_export_show_publishers_and_exchanges(ci: Ci) -> None:
    publisher = ci.register()
    ci.mint()
    ci.call("DELETE", f"/publishers/{publisher['id']}")
    ci.register(branch="main")
    ci.mint()
    exported = ci.call("GET", "/users/me/export").json()
    actions = [row["action"] for row in exported["audit"]]
    assert actions == [
        "publisher.added",
        "token.minted",
        "publisher.removed",
        "publisher.added",
        "token.minted",
    ]
    assert exported["audit"][1]["detail"]["run"].endswith("/octo-org/octo-repo/actions/runs/4242")
    (kept,) = exported["publishers"]
    assert (kept["repository_id"], kept["branch"]) == ("74", "main")
    assert [token["method"] for token in exported["tokens"] if token["claims"]] == ["ours"]


def test_deleted_account_loses_publishers_and_tokens(ci: Ci) -> None:
    ci.register()
    token = ci.mint()
    assert ci.call("DELETE", f"/users/me?confirm={ci.name}").status_code == 204
    assert ci.call("GET", "/users/me", token).json()["code"] == "auth.invalid"
    assert ci.exchange(ci.identity_token()).json()["code"] == "oidc.publisher"
    with ci.service.database.read() as session:
        assert not [row for row in session.query(Publisher) if row.user.deleted_at is not None]
        assert not [row for row in session.query(Token) if row.user.deleted_at is not None]


def test_submit_token_without_the_scope_manage_registers_nothing(ci: Ci) -> None:
    token = ci.service.token(ci.name, scopes=[Scope.SUBMIT])
    assert ci.call("POST", "/publishers", token, json=ci.fields).json()["code"] == "auth.scope"
    assert ci.call("POST", "/publishers", json=ci.fields | {"sub": "x"}).json()["code"] == "request.invalid"


def test_exchanges_of_one_address_are_limited(ci: Ci) -> None:
    answers = [ci.exchange("x.y.z") for _ in range(32)]
    assert {answer.status_code for answer in answers[:29]} == {422}
    last = answers[-1]
    assert (last.status_code, last.json()["code"]) == (429, "rate.exceeded")
    assert int(last.headers["retry-after"]) > 0


def test_number_of_publishers_is_limited(ci: Ci) -> None:
    for number in range(3):
        ci.register(branch=f"branch-{number}")
    refused = ci.call("POST", "/publishers", json=ci.fields)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota.publishers")
    assert ci.call("DELETE", f"/publishers/{ci.call('GET', '/publishers').json()[0]['id']}").status_code == 204
    ci.register()
