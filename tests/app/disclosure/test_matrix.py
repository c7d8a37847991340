"""No response discloses a hidden number, a withheld text or a secret: every route, viewer and kind of submission.

`test_search.py` tests the search itself. The positive control plants three leaks, and the matrix must find all of them.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr
from starlette.routing import Mount

from app.main import create_app
from app.settings import Settings
from app.web.public_route import PublicRoute
from tests.app.disclosure.addresses import ADDRESSES, API, BOARD
from tests.app.disclosure.board import NAME, Board, create_board, hidden_numbers, reserve_lds
from tests.app.disclosure.matrix import Matrix
from tests.app.disclosure.viewers import create_viewers
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.context import AppContext

SETTINGS = {
    "github_client_id": "board",
    "github_client_secret": SecretStr("secret-of-the-github-app"),
    "metrics_token": SecretStr("token-of-the-prometheus-of-the-operator"),
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with Service(tmp_path_factory.mktemp("matrix"), **SETTINGS) as service:
        yield create_board(service, tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(scope="module")
def matrix(board: Board) -> Matrix:
    return Matrix(board, create_viewers(board), hidden_numbers(board.service.database, board.examples))


def test_every_route_that_answers_get_has_addresses() -> None:
    settings = Settings(session_key=SecretStr("signs nothing: no request is sent"))
    app = create_app(cast("AppContext", SimpleNamespace(settings=settings)))
    routes = list(iter_route_contexts(app.routes))
    assert {type(route.original_route) for route in routes} <= {APIRoute, PublicRoute, Mount}
    # A mount has no methods: it answers GET.
    assert {route.path for route in routes if "GET" in (route.methods or {"GET"})} == set(ADDRESSES)


@pytest.mark.slow
def test_no_response_discloses_anything_hidden(board: Board, matrix: Matrix) -> None:
    addresses = [address for make in ADDRESSES.values() for address in make(board)]
    assert len(addresses) > 400
    assert matrix.search(addresses) == []
    codes = matrix.statuses.items()
    errors = {address: found for address, found in codes if max(found) >= 500 and "/callback" not in address}
    assert errors == {}
    # Otherwise the matrix would search error messages only.
    for route, make in ADDRESSES.items():
        if not route.endswith("/callback"):
            assert {200, 302, 303} & {status for address in make(board) for status in matrix.statuses[address]}, route
    log = board.service.log.read_text()
    assert [secret for secret in matrix.secrets if secret in log] == []


@pytest.fixture
def planted_leaks(board: Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a server with leaks: one decimal too many, LDS on the reserve, and the unrounded ceiling in a compressed file."""
    service = board.service
    kit = service.settings.benchmarks_dir / NAME / "2" / "downloads" / "kit.zip"
    before = kit.read_bytes()
    planted = json.dumps({"notes": [{"ceiling": board.examples[1].bundle.manifest.ceiling}]}).encode()
    with zipfile.ZipFile(kit, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes.json.gz", gzip.compress(planted))
    service.stop()
    with monkeypatch.context() as patched:
        patched.setattr("tests.app.service.MODULE", "tests.app.disclosure.leaky_server")
        service.start()
    yield
    kit.write_bytes(before)
    service.stop()
    service.start()


@pytest.mark.slow
@pytest.mark.usefixtures("planted_leaks")
def test_planted_leaks_are_found(board: Board, matrix: Matrix) -> None:
    found = matrix.search([f"{API}{BOARD}/{name}" for name in ("leaderboard", "kit.zip", "public.npz")])
    places = {(find.request.split()[1], find.place) for find in found if find.viewer == "a visitor"}
    assert places == {
        (f"{API}{BOARD}/leaderboard", "body"),
        (f"{API}{BOARD}/leaderboard", "body > gzip"),
        (f"{API}{BOARD}/kit.zip", "body > notes.json.gz > gzip"),
    }
    assert {find.viewer for find in found} == matrix.names
    shown = board.scored_ids[0]
    for address in (f"{API}/submissions/{shown}", f"/submissions/{shown}"):
        assert f"{reserve_lds(board.service.database, shown):.4f}" in {find.what for find in matrix.search([address])}
