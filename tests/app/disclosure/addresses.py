"""The addresses of the matrix: for each route that answers GET, the paths and query strings that are requested."""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.db.models import Visibility
from tests.app.disclosure.board import NAME, SNAPSHOT_FILES
from tests.app.roles import identifying_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.app.disclosure.board import Board

VERSIONS = ("", "?version=1", "?version=2", "?version=3")
COLUMNS = ("rank", "lds", "ceiling", "cost", "attempts", "date")
SORTS = [f"?sort={column}&order={order}" for column, order in product(COLUMNS, ("asc", "desc"))]
API = "/api/v1"
BOARD = f"/benchmarks/{NAME}"


def _once(path: str) -> Callable[[Board], Iterable[str]]:
    return lambda _: [path]


def _versions(path: str) -> Callable[[Board], Iterable[str]]:
    return lambda _: [f"{path}{query}" for query in VERSIONS]


def _each(path: str, *queries: str) -> Callable[[Board], Iterable[str]]:
    """Return the addresses of a route for every submission, with each query string."""
    return lambda board: [f"{path.format(each)}{query}" for each, query in product(board.ids, queries or ("",))]


def _methods(path: str, *queries: str) -> Callable[[Board], Iterable[str]]:
    """Return the addresses of a route for the method of every owner, with each query string."""
    names = [(f"owner-{visibility}", f"method-of-{visibility}") for visibility in Visibility]
    names += [("rival", "rival"), ("anonymous-1", "ours")]
    return lambda _: [
        path.format(owner=owner, method=method, query=query) for (owner, method), query in product(names, queries)
    ]


def _snapshots(path: str, *files: str) -> Callable[[Board], Iterable[str]]:
    """Return the addresses of the snapshots below `path`, with the end of each address in `files`."""
    return lambda board: [f"{path}/{taken}{file}" for taken, file in product(board.snapshots, files or ("",))]


def _searches(_: Board) -> list[str]:
    texts = [text for visibility in Visibility for text in identifying_texts(visibility)]
    return [f"{BOARD}?{name}={quote(text)}" for name, text in product(("q", "tag"), texts)]


ADDRESSES: dict[str, Callable[[Board], Iterable[str]]] = {
    "/": _once("/"),
    "/guide": _once("/guide"),
    "/docs": _once("/docs"),
    "/healthz": _once("/healthz"),
    "/readyz": _once("/readyz"),
    "/metrics": _once("/metrics"),
    "/static": _once("/static/style.css"),
    "/sign-in": _once("/sign-in"),
    "/sign-in/{provider}": _once("/sign-in/github"),
    "/sign-in/{provider}/callback": _once("/sign-in/github/callback?state=x&code=x"),
    "/admin": _once("/admin"),
    "/account": lambda _: ["/account", "/account?after=1"],
    "/account/delete": _once("/account/delete"),
    "/account/webhooks": _once("/account/webhooks"),
    "/account/publishers": lambda _: ["/account/publishers", "/account/publishers?like=1"],
    "/account/publishers/{publisher_id}/remove": _once("/account/publishers/1/remove"),
    "/account/submissions/{submission_id}/review-link": _each("/account/submissions/{}/review-link"),
    "/account/submissions/{submission_id}/withdraw": _each("/account/submissions/{}/withdraw"),
    "/benchmarks/{name}": lambda board: [
        *(f"{BOARD}{query}" for query in (*VERSIONS, *SORTS, "?after=1")),
        *_searches(board),
    ],
    "/benchmarks/{name}/about": _versions(f"{BOARD}/about"),
    "/benchmarks/{name}/versions/{number}/{day}": _snapshots(BOARD),
    "/benchmarks/{name}/submit": _once(f"{BOARD}/submit"),
    "/benchmarks/{name}/methods/{owner}/{method}": _methods(
        f"{BOARD}/methods/{{owner}}/{{method}}?{{query}}",
        *("kind=", "kind=ranked", "kind=practice", "branch=main", "version=1", "version=2"),
    ),
    "/benchmarks/{name}/feed.atom": _once(f"{BOARD}/feed.atom"),
    "/benchmarks/{name}/images/{part}/{index}.png": lambda _: [
        f"{BOARD}/images/{part}/0.png{query}" for part, query in product(("train", "target"), VERSIONS)
    ],
    "/submissions/{submission_id}": lambda board: [
        *(f"/submissions/{each}" for each in board.ids),
        *(f"/submissions/{each}?target={target}" for each, target in product(board.scored_ids, (0, 6))),
    ],
    "/submissions/{submission_id}/state": _each("/submissions/{}/state"),
    "/submissions/{submission_id}/badge.svg": _each("/submissions/{}/badge.svg"),
    "/badges/{name}/{owner}/{method}.svg": _methods(
        f"/badges/{NAME}/{{owner}}/{{method}}.svg{{query}}", "", "?show=rank", "?show=both"
    ),
    "/review": lambda board: [*board.review_links.values(), *map(str.lower, board.review_links.values()), "/review"],
    "/compare": lambda board: [
        *(f"/compare?a={a}&b={b}" for a, b in combinations(board.scored_ids, 2)),
        f"/compare?{'&'.join(f'id={each}' for each in board.scored_ids)}",
        f"/compare?benchmark={NAME}&choose=true",
        *(f"/compare?id={each}&choose=true" for each in board.scored_ids),
    ],
    f"{API}/openapi.json": _once(f"{API}/openapi.json"),
    f"{API}/benchmarks": _once(f"{API}/benchmarks"),
    f"{API}/benchmarks/{{name}}": _versions(f"{API}{BOARD}"),
    f"{API}/benchmarks/{{name}}/public.npz": _versions(f"{API}{BOARD}/public.npz"),
    f"{API}/benchmarks/{{name}}/kit.zip": _versions(f"{API}{BOARD}/kit.zip"),
    f"{API}/benchmarks/{{name}}/leaderboard": lambda _: [
        f"{API}{BOARD}/leaderboard{query}"
        for query in (*VERSIONS, "?format=csv", "?format=csv&version=1", "?after=1&limit=1", "?format=xml")
    ],
    f"{API}/benchmarks/{{name}}/snapshots": _versions(f"{API}{BOARD}/snapshots"),
    f"{API}/benchmarks/{{name}}/versions/{{number}}/{{day}}": _snapshots(f"{API}{BOARD}"),
    f"{API}/benchmarks/{{name}}/versions/{{number}}/{{day}}/{{file}}": _snapshots(
        f"{API}{BOARD}", *(f"/{file}" for file in (*SNAPSHOT_FILES, "hidden.json"))
    ),
    f"{API}/benchmarks/{{name}}/history": _methods(
        f"{API}{BOARD}/history?owner={{owner}}&method={{method}}{{query}}",
        *("", "&kind=ranked", "&kind=practice", "&version=1", "&kind=ranked&version=1&limit=1"),
    ),
    f"{API}/submissions/{{submission_id}}": _each(f"{API}/submissions/{{}}", "", "?wait=0.01"),
    f"{API}/submissions/{{submission_id}}/per-target.npz": _each(f"{API}/submissions/{{}}/per-target.npz"),
    f"{API}/submissions/{{submission_id}}/parts": _each(f"{API}/submissions/{{}}/parts"),
    f"{API}/compare": lambda board: [f"{API}/compare?a={a}&b={b}" for a, b in permutations(board.scored_ids, 2)],
    f"{API}/users/me": _once(f"{API}/users/me"),
    f"{API}/users/me/submissions": lambda _: [
        f"{API}/users/me/submissions{query}" for query in ("", "?after=1&limit=2")
    ],
    f"{API}/users/me/export": _once(f"{API}/users/me/export"),
    f"{API}/tokens": _once(f"{API}/tokens"),
    f"{API}/publishers": _once(f"{API}/publishers"),
    f"{API}/oidc/audience": _once(f"{API}/oidc/audience"),
    f"{API}/webhooks": _once(f"{API}/webhooks"),
}
"""The requested addresses by route. `test_matrix.py` fails if a route is missing here."""
