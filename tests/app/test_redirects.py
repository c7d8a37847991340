"""Redirects within the site do not repeat the Host header, which a client chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.responses import RedirectResponse

from app.web.redirects import RelativeRedirects
from tests.app.event_loop import run_in_loop

if TYPE_CHECKING:
    from tests.app.service import Service


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/guide/", "/guide"),
        ("/benchmarks/toy/?sort=lds", "/benchmarks/toy?sort=lds"),
        ("/api/v1/benchmarks/", "/api/v1/benchmarks"),
    ],
)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost"])
def test_redirect_has_no_host(service: Service, path: str, target: str, host: str) -> None:
    response = service.client.get(f"{service.url}{path}", headers={"Host": host}, follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (307, target)


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("http://board.example/benchmarks", "/benchmarks"),
        ("http://board.example//evil.example/", "/evil.example/"),
        ("http://provider.example/authorize?x=1", "http://provider.example/authorize?x=1"),
        ("http://board.example.org/benchmarks", "http://board.example.org/benchmarks"),
        ("/account", "/account"),
    ],
)
def test_redirects_to_other_hosts_stay(location: str, sent: str) -> None:
    app = RelativeRedirects(RedirectResponse(location))

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://board.example") as client:
            return await client.get("/")

    assert run_in_loop(get()).headers["Location"] == sent
