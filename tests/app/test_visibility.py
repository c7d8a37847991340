"""Access control: every route, for every role, with submissions of every visibility in every state."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from app.db.models import State, Visibility
from app.pages import account, admin, own_data, own_review_links, own_submissions, publishers, site, webhooks
from tests.app.roles import Roles, create_roles, identifying_fields, identifying_texts, provenance_texts
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROLES = ("visitor", "other", "owner", "admin")
UNKNOWN_ID = "0" * 16
"""An id that no submission has."""

ONE = {
    "/api/v1/submissions/{submission_id}",
    "/api/v1/submissions/{submission_id}/per-target.npz",
    "/submissions/{submission_id}",
    "/submissions/{submission_id}/state",
    "/submissions/{submission_id}/badge.svg",
}
"""Routes that show one submission."""

UNLISTED = {"/api/v1/submissions/{submission_id}/per-target.npz": 409, "/submissions/{submission_id}/badge.svg": 404}
"""Statuses of the routes above for submissions that are not scored or not listed."""

PARTS = {"/api/v1/submissions/{submission_id}/parts"}
"""Routes for the sender of a multipart upload; test_multipart_lifecycle.py and test_upload_tokens.py test them further."""

PAIR = {"/api/v1/compare", "/compare"}
"""Routes that show two submissions."""

MANY = {
    "/",
    "/guide",
    "/benchmarks/{name}",
    "/benchmarks/{name}/about",
    "/benchmarks/{name}/submit",
    "/benchmarks/{name}/feed.atom",
    "/api/v1/benchmarks",
    "/api/v1/benchmarks/{name}",
    "/api/v1/benchmarks/{name}/leaderboard",
}
"""Routes that show listed submissions."""

SNAPSHOTS = {
    "/benchmarks/{name}/versions/{number}/{day}",
    "/api/v1/benchmarks/{name}/snapshots",
    "/api/v1/benchmarks/{name}/versions/{number}/{day}",
    "/api/v1/benchmarks/{name}/versions/{number}/{day}/{file}",
}
"""Routes that show a leaderboard as it was on a day, to everybody the same; see test_snapshots.py."""

BADGE = {"/badges/{name}/{owner}/{method}.svg"}
"""Routes that show the public entry of one method of one owner, to everybody the same."""

METHOD = {"/api/v1/benchmarks/{name}/history", "/benchmarks/{name}/methods/{owner}/{method}"}
"""Routes that show the submissions of one method of one owner."""

OWN = {"/api/v1/users/me", "/api/v1/users/me/export", "/api/v1/users/me/submissions", "/api/v1/tokens"}
OWN |= {"/api/v1/publishers", "/api/v1/webhooks"}
"""Routes that show data of the caller."""

REVIEW = {"/review"}
"""Routes that show one submission to the holder of its review link; see test_review_links.py."""

NONE = {
    "/docs",
    "/benchmarks/{name}/images/{part}/{index}.png",
    "/api/v1/benchmarks/{name}/public.npz",
    "/api/v1/benchmarks/{name}/kit.zip",
    "/api/v1/oidc/audience",
}
"""Routes that show no submission."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A separate server, because the inserted submissions have no evaluations and never reach a final state."""
    with Service(tmp_path_factory.mktemp("visibility")) as running:
        yield running


@pytest.fixture(scope="module")
def roles(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Roles:
    return create_roles(service, tmp_path_factory.mktemp("seen"))


def _routes_with_roles(paths: set[str]) -> list[tuple[str, str]]:
    """Return (route, role) pairs: every role for API routes; only "visitor" for pages, which ignore tokens."""
    return [(path, role) for path in sorted(paths) for role in (ROLES if path.startswith("/api/") else ("visitor",))]


def _may_read(role: str, visibility: Visibility) -> bool:
    return visibility is not Visibility.PRIVATE or role in ("owner", "admin")


def _may_know_owner(role: str, visibility: Visibility) -> bool:
    return visibility is Visibility.PUBLIC or role in ("owner", "admin")


def _contained(response: httpx.Response, texts: list[str]) -> list[str]:
    whole = str(response.headers) + response.text
    return [text for text in texts if text in whole]


def test_route_sets_cover_every_route(service: Service) -> None:
    described = service.client.get("/openapi.json").json()["paths"]
    api = {path for path, calls in described.items() if "get" in calls and path.startswith("/api/")}
    modules = set(site.PAGE_MODULES) - {
        account,
        admin,
        own_data,
        own_review_links,
        own_submissions,
        publishers,
        webhooks,
    }  # need a session; tested in pages/
    pages = {route.path for module in modules for route in module.router.routes}
    assert api | pages == ONE | PARTS | PAIR | MANY | METHOD | BADGE | OWN | REVIEW | SNAPSHOTS | NONE


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize(("path", "role"), _routes_with_roles(ONE))
def test_submission_routes_hide_private_submissions_and_anonymous_owners(
    roles: Roles, path: str, role: str, visibility: Visibility
) -> None:
    roles = roles.as_owner_of(visibility)
    unknown = roles.get(path.format(submission_id=UNKNOWN_ID), role)
    for state in State:
        shown = roles.get(path.format(submission_id=roles.ids[visibility, state]), role)
        if not _may_read(role, visibility):
            assert shown.status_code == 404
            assert _contained(shown, identifying_texts(visibility)) == []
            different = shown.text.replace(roles.ids[visibility, state], UNKNOWN_ID)
            assert different == unknown.text  # same response as for an unknown id
            continue
        assert shown.status_code == (200 if state is State.SCORED else UNLISTED.get(path, 200)), shown.text
        texts = [*identifying_texts(visibility), *(provenance_texts(visibility) if state is State.SCORED else [])]
        if not _may_know_owner(role, visibility):
            assert _contained(shown, texts) == []
        elif path == "/api/v1/submissions/{submission_id}":
            assert _contained(shown, texts) == texts


@pytest.mark.parametrize("path", sorted(path for path in ONE | PAIR if not path.startswith("/api/")))
def test_pages_ignore_bearer_tokens(roles: Roles, path: str) -> None:
    states = (State.SCORED,) if path in PAIR else (State.SCORED, State.UPLOADING)
    for visibility, state in product(Visibility, states):
        submission_id = roles.ids[visibility, state]
        query = {"a": submission_id, "b": roles.rival_id} if path in PAIR else {}
        address = path.format(submission_id=submission_id)
        shown, *others = (
            roles.as_owner_of(visibility).get(address, role, **query) for role in ("visitor", "owner", "admin")
        )
        assert [(other.status_code, other.text) for other in others] == [(shown.status_code, shown.text)] * 2


@pytest.mark.parametrize(("role", "visibility"), [*product(ROLES, Visibility)])
def test_file_hash_is_shown_only_to_roles_that_may_know_the_owner(
    roles: Roles, role: str, visibility: Visibility
) -> None:
    roles = roles.as_owner_of(visibility)
    submission_id = roles.ids[visibility, State.SCORED]
    sha256 = str(roles.service.row(submission_id).file_sha256)
    paths = [f"/api/v1/submissions/{submission_id}", *([f"/submissions/{submission_id}"] if role == "visitor" else [])]
    for path in paths:
        shown_hashes = _contained(roles.get(path, role), [sha256])
        assert shown_hashes == ([sha256] if _may_read(role, visibility) and _may_know_owner(role, visibility) else [])


@pytest.mark.parametrize("path", sorted(PARTS))
def test_upload_routes_show_nothing_to_other_users(roles: Roles, path: str) -> None:
    for (visibility, state), submission_id in roles.ids.items():
        for role in ("visitor", "other"):
            shown = roles.get(path.format(submission_id=submission_id), role)
            assert shown.status_code == (401 if role == "visitor" else 404), (visibility, state)
            assert _contained(shown, identifying_texts(visibility)) == []


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize(("path", "role"), _routes_with_roles(PAIR))
def test_comparison_is_shown_only_to_roles_that_see_both_submissions(
    roles: Roles, path: str, role: str, visibility: Visibility
) -> None:
    roles = roles.as_owner_of(visibility)
    one = roles.ids[visibility, State.SCORED]
    for a, b in ((one, roles.rival_id), (roles.rival_id, one)):
        shown = roles.get(path, role, a=a, b=b)
        assert shown.status_code == (200 if _may_read(role, visibility) else 404)
        if not _may_know_owner(role, visibility):
            assert _contained(shown, identifying_texts(visibility)) == []


@pytest.mark.parametrize("path", sorted(MANY))
def test_lists_show_no_withheld_texts_to_any_role(roles: Roles, path: str) -> None:
    roles = roles.as_owner_of(Visibility.PRIVATE)
    kept = (Visibility.ANONYMOUS, Visibility.PRIVATE)
    hidden = [text for visibility in kept for text in (*identifying_texts(visibility), *provenance_texts(visibility))]
    hidden += [roles.ids[Visibility.PRIVATE, state] for state in State]
    for query in ({}, {"format": "csv"}) if path.endswith("leaderboard") else ({},):
        answers = [roles.get(path.format(name="seen"), role, **query) for role in ROLES]
        assert [shown.status_code for shown in answers] == [200] * len(ROLES)
        assert len({shown.text for shown in answers}) == 1
        assert [_contained(shown, hidden) for shown in answers] == [[]] * len(ROLES)


@pytest.mark.parametrize("visibility", [Visibility.ANONYMOUS, Visibility.PRIVATE])
def test_search_does_not_match_withheld_texts(roles: Roles, visibility: Visibility) -> None:
    assert "1 of 3 entries found" in roles.get("/benchmarks/seen", "visitor", q="method-of-public").text
    assert "1 of 3 entries found" in roles.get("/benchmarks/seen", "visitor", tag="tag-of-public").text
    for text in identifying_texts(visibility):
        for query in ({"q": text}, {"tag": text}):
            assert "0 of 3 entries found" in roles.get("/benchmarks/seen", "visitor", **query).text


def test_leaderboard_counts_and_ranks_only_listed_entries(roles: Roles) -> None:
    board = roles.get("/api/v1/benchmarks/seen/leaderboard", "visitor").json()["rows"]
    assert {row["id"] for row in board} == {
        roles.rival_id,
        roles.ids[Visibility.PUBLIC, State.SCORED],
        roles.ids[Visibility.ANONYMOUS, State.SCORED],
    }
    assert roles.get("/api/v1/benchmarks/seen", "visitor").json()["entries"] == 3
    assert {(row["owner"], row["method"]) for row in board} == {
        ("rival", "rival"),
        ("owner-public", "method-of-public"),
        ("anonymous-1", "withheld"),
    }
    assert max(row["rank"][1] for row in board) <= 3
    private = roles.get(f"/api/v1/submissions/{roles.ids[Visibility.PRIVATE, State.SCORED]}", "admin").json()
    assert private["hidden"]["lds"] > 0
    assert private["hidden"]["rank"] is None


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize(("path", "role"), _routes_with_roles(METHOD))
def test_history_of_a_method_shows_what_the_role_may_see_under_the_name_of_the_owner(
    roles: Roles, path: str, role: str, visibility: Visibility
) -> None:
    roles, name = roles.as_owner_of(visibility), {"owner": f"owner-{visibility}", "method": f"method-of-{visibility}"}
    query = name if path.startswith("/api/") else {}
    shown = roles.get(path.format(name="seen", **name), role, **query)
    unknown = roles.get(
        path.format(name="seen", owner="x", method="y"), role, **query and {"owner": "x", "method": "y"}
    )
    scored = roles.ids[visibility, State.SCORED]
    ids = [submission_id for (other, _), submission_id in roles.ids.items() if other is visibility]
    details = [*ids, *identifying_texts(visibility)[2:], *provenance_texts(visibility)]
    if visibility is not Visibility.ANONYMOUS and _may_read(role, visibility):
        expected = [scored, f"Title of {visibility}", *provenance_texts(visibility)[0 if query else 2 :]]
        assert _contained(shown, details) == expected
        return
    assert _contained(shown, details) == []
    renamed = shown.text.replace(name["owner"], "x").replace(name["method"], "y")
    assert (shown.status_code, renamed) == (unknown.status_code, unknown.text)


@pytest.mark.parametrize("path", sorted(OWN))
def test_own_routes_need_a_token_and_show_no_other_users(roles: Roles, path: str) -> None:
    assert roles.get(path, "visitor").status_code == 401
    for role in ("other", "admin"):
        shown = roles.get(path, role)
        assert shown.status_code == 200
        assert _contained(shown, [text for visibility in Visibility for text in identifying_texts(visibility)]) == []


@pytest.mark.parametrize("visibility", list(Visibility))
def test_owner_lists_all_own_submissions(roles: Roles, visibility: Visibility) -> None:
    roles = roles.as_owner_of(visibility)
    own = roles.get("/api/v1/users/me/submissions", "owner").json()
    assert {view["id"] for view in own} == {roles.ids[visibility, state] for state in State}
    assert {view["owner"] for view in own} == {f"owner-{visibility}"}
    two = roles.get("/api/v1/users/me/submissions", "owner", after="2", limit="2").json()
    assert [view["id"] for view in two] == [view["id"] for view in own[2:4]]


@pytest.mark.parametrize(("role", "visibility"), [*product(("visitor", "other"), Visibility)])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_other_users_cannot_change_a_submission(roles: Roles, method: str, role: str, visibility: Visibility) -> None:
    headers = {"Authorization": f"Bearer {roles.tokens[role]}"} if role in roles.tokens else {}
    for state in State:
        refused = roles.service.client.request(
            method, f"/submissions/{roles.ids[visibility, state]}", headers=headers, json={"title": "Mine"}
        )
        seen = 404 if visibility is Visibility.PRIVATE else 403
        assert refused.status_code == (401 if role == "visitor" else seen)
        assert roles.service.row(roles.ids[visibility, state]).title == identifying_fields(visibility)["title"]
        if not _may_know_owner(role, visibility):
            assert _contained(refused, identifying_texts(visibility)) == []
