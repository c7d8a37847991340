"""Who sees what: every route, for every role, of submissions of every visibility in every state."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import select

from app.db.accounts import Role, User
from app.db.models import Kind, State, Submission, Version, Visibility
from app.pages import account, own_submissions, site
from app.services import accounts, tokens
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROLES = ("visitor", "other", "owner", "admin")
ERROR = {"code": "scores.nonfinite", "expected": "finite scores", "got": "one NaN", "hint": "Look for it."}

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


class Cast(NamedTuple):
    """A board with submissions of every visibility and state, each visibility with an owner of its own, and the roles' tokens."""

    service: Service
    ids: dict[tuple[Visibility, State], str]
    tokens: dict[str, str]
    rival: str

    def get(self, path: str, role: str, **query: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}
        return self.service.client.get(f"{self.service.url}{path}", params=query, headers=headers)


def _commit(visibility: Visibility) -> str:
    return visibility.encode().hex().ljust(40, "0")


def _marks(visibility: Visibility) -> dict[str, Any]:
    """What tells who sent a submission of this visibility."""
    return {
        "method": f"method-of-{visibility}",
        "title": f"Title of {visibility}",
        "description": f"Description of {visibility}",
        "tags": [f"tag-of-{visibility}"],
        "urls": {"code": f"https://example.org/code-of-{visibility}"},
    }


def _secrets(visibility: Visibility) -> list[str]:
    marks = _marks(visibility)
    return [
        f"owner-{visibility}",
        marks["method"],
        marks["title"],
        marks["description"],
        *marks["tags"],
        *marks["urls"].values(),
    ]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server of its own: the cast has submissions that wait for ever, since nothing will be evaluated of them."""
    with Service(tmp_path_factory.mktemp("visibility")) as running:
        yield running


@pytest.fixture(scope="module")
def cast(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    example = write_benchmark(tmp_path_factory.mktemp("seen"), "seen")
    service.publish(example.folder)
    ids: dict[tuple[Visibility, State], str] = {}
    for visibility in Visibility:
        token = service.token(f"owner-{visibility}")
        marks = _marks(visibility)
        origin = {"repository": f"repository-of-{visibility}", "commit": _commit(visibility)}
        sent = service.scored(token, "seen", npy(example.scores(0.5)), method=marks["method"], **origin)
        ids[visibility, State.SCORED] = sent["id"]
        edited = service.client.patch(
            f"/submissions/{sent['id']}",
            headers={"Authorization": f"Bearer {token}"},
            json={name: marks[name] for name in marks.keys() - {"method"}} | {"visibility": visibility},
        )
        assert edited.status_code == 200, edited.text
        with service.database.write() as session:
            user = session.scalars(select(User).where(User.name == f"owner-{visibility}")).one()
            version = session.scalars(
                select(Version).where(Version.id == session.get_one(Submission, sent["id"]).version_id)
            ).one()
            for state in State:
                if state is not State.SCORED:
                    row = Submission(
                        user=user,
                        version=version,
                        kind=Kind.PRACTICE,
                        size=1,
                        state=state,
                        visibility=visibility,
                        **marks,
                    )
                    row.error = ERROR if state in (State.REJECTED, State.FAILED) else None
                    session.add(row)
                    session.flush()
                    ids[visibility, state] = row.id
    with service.database.write() as session:
        _, admin = tokens.create(session, accounts.add_user(session, "seeing-all", role=Role.ADMIN))
    rival = service.token("rival")
    other = service.scored(rival, "seen", npy(example.scores(1.0)), method="rival")["id"]
    return Cast(service, ids, {"admin": admin, "other": service.token("somebody")}, other)


def _sees(role: str, visibility: Visibility) -> bool:
    return visibility is not Visibility.PRIVATE or role in ("owner", "admin")


def _knows(role: str, visibility: Visibility) -> bool:
    return visibility is Visibility.PUBLIC or role in ("owner", "admin")


def _as_owner(cast: Cast, visibility: Visibility) -> Cast:
    return cast._replace(tokens=cast.tokens | {"owner": cast.service.token(f"owner-{visibility}")})


def _origin(visibility: Visibility) -> list[str]:
    """What tells where the scored submission of this visibility comes from."""
    return [f"repository-of-{visibility}", _commit(visibility)]


def _holds(response: httpx.Response, texts: list[str]) -> list[str]:
    whole = str(response.headers) + response.text
    return [text for text in texts if text in whole]


def test_the_table_has_every_route(service: Service) -> None:
    described = service.client.get("/openapi.json").json()["paths"]
    api = {path for path, calls in described.items() if "get" in calls and path.startswith("/api/")}
    rooms = set(site.ROOMS) - {account, own_submissions}  # shown to who signed in, and tested there
    pages = {route.path for room in rooms for route in room.router.routes}
    assert api | pages == ONE | PARTS | PAIR | MANY | OWN | NONE


@pytest.mark.parametrize(("role", "visibility"), [*product(ROLES, Visibility)])
@pytest.mark.parametrize("path", sorted(ONE))
def test_one_submission_is_shown_to_whom_it_may_be(cast: Cast, path: str, role: str, visibility: Visibility) -> None:
    cast = _as_owner(cast, visibility)
    page = not path.startswith("/api/")  # pages know no tokens
    role_there = "visitor" if page else role
    for state in State:
        shown = cast.get(path.format(submission_id=cast.ids[visibility, state]), role)
        if not _sees(role_there, visibility):
            assert shown.status_code == 404
            assert _holds(shown, _secrets(visibility)) == []
            unknown = cast.get(path.format(submission_id="0" * 16), role)
            different = shown.text.replace(cast.ids[visibility, state], "0" * 16)
            assert different == unknown.text  # as if it were not there
            continue
        assert shown.status_code == (200 if state is State.SCORED else UNLISTED.get(path, 200)), shown.text
        told = [*_secrets(visibility), *(_origin(visibility) if state is State.SCORED else [])]
        if not _knows(role_there, visibility):
            assert _holds(shown, told) == []
        elif path == "/api/v1/submissions/{submission_id}":
            assert _holds(shown, told) == told


@pytest.mark.parametrize(("role", "visibility"), [*product(ROLES, Visibility)])
def test_the_hash_of_a_file_is_told_to_who_may_know_whose_it_is(cast: Cast, role: str, visibility: Visibility) -> None:
    cast = _as_owner(cast, visibility)
    submission_id = cast.ids[visibility, State.SCORED]
    sha256 = str(cast.service.row(submission_id).file_sha256)
    answers = {role: f"/api/v1/submissions/{submission_id}", "visitor": f"/submissions/{submission_id}"}
    for role_there, path in answers.items():
        told = _holds(cast.get(path, role), [sha256])
        assert told == ([sha256] if _sees(role_there, visibility) and _knows(role_there, visibility) else [])


@pytest.mark.parametrize("path", sorted(PARTS))
def test_nobody_else_sees_an_upload(cast: Cast, path: str) -> None:
    for (visibility, state), submission_id in cast.ids.items():
        for role in ("visitor", "other"):
            shown = cast.get(path.format(submission_id=submission_id), role)
            assert shown.status_code == (401 if role == "visitor" else 404), (visibility, state)
            assert _holds(shown, _secrets(visibility)) == []


@pytest.mark.parametrize(("role", "visibility"), [*product(ROLES, Visibility)])
@pytest.mark.parametrize("path", sorted(PAIR))
def test_a_comparison_is_shown_to_who_may_see_both(cast: Cast, path: str, role: str, visibility: Visibility) -> None:
    cast = _as_owner(cast, visibility)
    role_there = role if path.startswith("/api/") else "visitor"
    for pair in ((visibility, State.SCORED), None), (None, (visibility, State.SCORED)):
        a, b = (cast.rival if side is None else cast.ids[side] for side in pair)
        shown = cast.get(path, role, a=a, b=b)
        assert shown.status_code == (200 if _sees(role_there, visibility) else 404)
        if not _knows(role_there, visibility):
            assert _holds(shown, _secrets(visibility)) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", sorted(MANY))
def test_what_is_listed_is_the_same_for_everybody(cast: Cast, path: str, role: str) -> None:
    cast = _as_owner(cast, Visibility.PRIVATE)
    for query in ({}, {"format": "csv"}) if path.endswith("leaderboard") else ({},):
        shown = cast.get(path.format(name="seen"), role, **query)
        assert shown.status_code == 200
        assert shown.text == cast.get(path.format(name="seen"), "visitor", **query).text
        kept = (Visibility.ANONYMOUS, Visibility.PRIVATE)
        hidden = [text for visibility in kept for text in (*_secrets(visibility), *_origin(visibility))]
        hidden += [cast.ids[Visibility.PRIVATE, state] for state in State]
        assert _holds(shown, hidden) == []


@pytest.mark.parametrize("visibility", [Visibility.ANONYMOUS, Visibility.PRIVATE])
def test_a_search_finds_nothing_that_is_withheld(cast: Cast, visibility: Visibility) -> None:
    assert "1 of 3 entries found" in cast.get("/benchmarks/seen", "visitor", q="method-of-public").text
    assert "1 of 3 entries found" in cast.get("/benchmarks/seen", "visitor", tag="tag-of-public").text
    for text in _secrets(visibility):
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
        assert _holds(shown, [text for visibility in Visibility for text in _secrets(visibility)]) == []


@pytest.mark.parametrize("visibility", list(Visibility))
def test_an_owner_lists_all_that_is_theirs(cast: Cast, visibility: Visibility) -> None:
    cast = _as_owner(cast, visibility)
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
        assert cast.service.row(cast.ids[visibility, state]).title == _marks(visibility)["title"]
        if not _knows(role, visibility):
            assert _holds(refused, _secrets(visibility)) == []
