"""Who sees what: every route, for every role, of submissions of every visibility in every state."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from app.db.models import State, Visibility
from app.pages import account, own_submissions, site
from tests.app.cast import Cast, assemble, marks, origin, secrets
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROLES = ("visitor", "other", "owner", "admin")
NOBODYS = "0" * 16
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
"""What those of them answer that show only what is scored, or listed."""

PARTS = {"/api/v1/submissions/{submission_id}/parts"}
"""Routes that are there for who sends an upload in parts; what else they say is tested there."""

PAIR = {"/api/v1/compare", "/compare"}
"""Routes that show two."""

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
"""Routes that show what is listed."""

OWN = {"/api/v1/users/me", "/api/v1/users/me/submissions", "/api/v1/tokens"}
"""Routes that show what is the caller's."""

NONE = {
    "/docs",
    "/benchmarks/{name}/images/{part}/{index}.png",
    "/api/v1/benchmarks/{name}/public.npz",
    "/api/v1/benchmarks/{name}/kit.zip",
}
"""Routes that show no submission."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of its own: the cast has submissions that wait for ever, since nothing will be evaluated of them."""
    with Service(tmp_path_factory.mktemp("visibility")) as running:
        yield running


@pytest.fixture(scope="module")
def cast(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return assemble(service, tmp_path_factory.mktemp("seen"))


def _asked(paths: set[str]) -> list[tuple[str, str]]:
    """Return the routes with the roles that they are asked in: pages know no tokens, so that everybody is a visitor there."""
    return [(path, role) for path in sorted(paths) for role in (ROLES if path.startswith("/api/") else ("visitor",))]


def _sees(role: str, visibility: Visibility) -> bool:
    return visibility is not Visibility.PRIVATE or role in ("owner", "admin")


def _knows(role: str, visibility: Visibility) -> bool:
    return visibility is Visibility.PUBLIC or role in ("owner", "admin")


def _holds(response: httpx.Response, texts: list[str]) -> list[str]:
    whole = str(response.headers) + response.text
    return [text for text in texts if text in whole]


def test_the_table_has_every_route(service: Service) -> None:
    described = service.client.get("/openapi.json").json()["paths"]
    api = {path for path, calls in described.items() if "get" in calls and path.startswith("/api/")}
    context = set(site.ROOMS) - {account, own_submissions}  # shown to who signed in, and tested there
    pages = {route.path for room in context for route in room.router.routes}
    assert api | pages == ONE | PARTS | PAIR | MANY | OWN | NONE


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize(("path", "role"), _asked(ONE))
def test_one_submission_is_shown_to_whom_it_may_be(cast: Cast, path: str, role: str, visibility: Visibility) -> None:
    cast = cast.of(visibility)
    unknown = cast.get(path.format(submission_id=NOBODYS), role)
    for state in State:
        shown = cast.get(path.format(submission_id=cast.ids[visibility, state]), role)
        if not _sees(role, visibility):
            assert shown.status_code == 404
            assert _holds(shown, secrets(visibility)) == []
            different = shown.text.replace(cast.ids[visibility, state], NOBODYS)
            assert different == unknown.text  # as if it were not there
            continue
        assert shown.status_code == (200 if state is State.SCORED else UNLISTED.get(path, 200)), shown.text
        told = [*secrets(visibility), *(origin(visibility) if state is State.SCORED else [])]
        if not _knows(role, visibility):
            assert _holds(shown, told) == []
        elif path == "/api/v1/submissions/{submission_id}":
            assert _holds(shown, told) == told


@pytest.mark.parametrize("path", sorted(path for path in ONE | PAIR if not path.startswith("/api/")))
def test_a_page_is_the_same_whatever_token_comes_with_the_call(cast: Cast, path: str) -> None:
    states = (State.SCORED,) if path in PAIR else (State.SCORED, State.UPLOADING)
    for visibility, state in product(Visibility, states):
        submission_id = cast.ids[visibility, state]
        query = {"a": submission_id, "b": cast.rival} if path in PAIR else {}
        address = path.format(submission_id=submission_id)
        shown, *others = (cast.of(visibility).get(address, role, **query) for role in ("visitor", "owner", "admin"))
        assert [(other.status_code, other.text) for other in others] == [(shown.status_code, shown.text)] * 2


@pytest.mark.parametrize(("role", "visibility"), [*product(ROLES, Visibility)])
def test_the_hash_of_a_file_is_told_to_who_may_know_whose_it_is(cast: Cast, role: str, visibility: Visibility) -> None:
    cast = cast.of(visibility)
    submission_id = cast.ids[visibility, State.SCORED]
    sha256 = str(cast.service.row(submission_id).file_sha256)
    paths = [f"/api/v1/submissions/{submission_id}", *([f"/submissions/{submission_id}"] if role == "visitor" else [])]
    for path in paths:
        told = _holds(cast.get(path, role), [sha256])
        assert told == ([sha256] if _sees(role, visibility) and _knows(role, visibility) else [])


@pytest.mark.parametrize("path", sorted(PARTS))
def test_nobody_else_sees_an_upload(cast: Cast, path: str) -> None:
    for (visibility, state), submission_id in cast.ids.items():
        for role in ("visitor", "other"):
            shown = cast.get(path.format(submission_id=submission_id), role)
            assert shown.status_code == (401 if role == "visitor" else 404), (visibility, state)
            assert _holds(shown, secrets(visibility)) == []


@pytest.mark.parametrize("visibility", list(Visibility))
@pytest.mark.parametrize(("path", "role"), _asked(PAIR))
def test_a_comparison_is_shown_to_who_may_see_both(cast: Cast, path: str, role: str, visibility: Visibility) -> None:
    cast = cast.of(visibility)
    one = cast.ids[visibility, State.SCORED]
    for a, b in ((one, cast.rival), (cast.rival, one)):
        shown = cast.get(path, role, a=a, b=b)
        assert shown.status_code == (200 if _sees(role, visibility) else 404)
        if not _knows(role, visibility):
            assert _holds(shown, secrets(visibility)) == []


@pytest.mark.parametrize("path", sorted(MANY))
def test_what_is_listed_is_the_same_for_everybody(cast: Cast, path: str) -> None:
    cast = cast.of(Visibility.PRIVATE)
    kept = (Visibility.ANONYMOUS, Visibility.PRIVATE)
    hidden = [text for visibility in kept for text in (*secrets(visibility), *origin(visibility))]
    hidden += [cast.ids[Visibility.PRIVATE, state] for state in State]
    for query in ({}, {"format": "csv"}) if path.endswith("leaderboard") else ({},):
        answers = [cast.get(path.format(name="seen"), role, **query) for role in ROLES]
        assert [shown.status_code for shown in answers] == [200] * len(ROLES)
        assert len({shown.text for shown in answers}) == 1
        assert [_holds(shown, hidden) for shown in answers] == [[]] * len(ROLES)


@pytest.mark.parametrize("visibility", [Visibility.ANONYMOUS, Visibility.PRIVATE])
def test_a_search_finds_nothing_that_is_withheld(cast: Cast, visibility: Visibility) -> None:
    assert "1 of 3 entries found" in cast.get("/benchmarks/seen", "visitor", q="method-of-public").text
    assert "1 of 3 entries found" in cast.get("/benchmarks/seen", "visitor", tag="tag-of-public").text
    for text in secrets(visibility):
        for query in ({"q": text}, {"tag": text}):
            assert "0 of 3 entries found" in cast.get("/benchmarks/seen", "visitor", **query).text


def test_a_board_counts_and_ranks_what_it_lists(cast: Cast) -> None:
    board = cast.get("/api/v1/benchmarks/seen/leaderboard", "visitor").json()["rows"]
    assert {row["id"] for row in board} == {
        cast.rival,
        cast.ids[Visibility.PUBLIC, State.SCORED],
        cast.ids[Visibility.ANONYMOUS, State.SCORED],
    }
    assert cast.get("/api/v1/benchmarks/seen", "visitor").json()["entries"] == 3
    assert {(row["owner"], row["method"]) for row in board} == {
        ("rival", "rival"),
        ("owner-public", "method-of-public"),
        ("anonymous-1", "withheld"),
    }
    assert max(row["rank"][1] for row in board) <= 3
    private = cast.get(f"/api/v1/submissions/{cast.ids[Visibility.PRIVATE, State.SCORED]}", "admin").json()
    assert private["hidden"]["lds"] > 0
    assert private["hidden"]["rank"] is None


@pytest.mark.parametrize("path", sorted(OWN))
def test_what_is_ones_own_needs_a_token_and_shows_nobody_elses(cast: Cast, path: str) -> None:
    assert cast.get(path, "visitor").status_code == 401
    for role in ("other", "admin"):
        shown = cast.get(path, role)
        assert shown.status_code == 200
        assert _holds(shown, [text for visibility in Visibility for text in secrets(visibility)]) == []


@pytest.mark.parametrize("visibility", list(Visibility))
def test_an_owner_lists_all_that_is_theirs(cast: Cast, visibility: Visibility) -> None:
    cast = cast.of(visibility)
    own = cast.get("/api/v1/users/me/submissions", "owner").json()
    assert {view["id"] for view in own} == {cast.ids[visibility, state] for state in State}
    assert {view["owner"] for view in own} == {f"owner-{visibility}"}
    two = cast.get("/api/v1/users/me/submissions", "owner", after="2", limit="2").json()
    assert [view["id"] for view in two] == [view["id"] for view in own[2:4]]


@pytest.mark.parametrize(("role", "visibility"), [*product(("visitor", "other"), Visibility)])
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_only_the_owner_and_an_admin_change_anything(
    cast: Cast, method: str, role: str, visibility: Visibility
) -> None:
    headers = {"Authorization": f"Bearer {cast.tokens[role]}"} if role in cast.tokens else {}
    for state in State:
        refused = cast.service.client.request(
            method, f"/submissions/{cast.ids[visibility, state]}", headers=headers, json={"title": "Mine"}
        )
        seen = 404 if visibility is Visibility.PRIVATE else 403
        assert refused.status_code == (401 if role == "visitor" else seen)
        assert cast.service.row(cast.ids[visibility, state]).title == marks(visibility)["title"]
        if not _knows(role, visibility):
            assert _holds(refused, secrets(visibility)) == []
