"""A running server with a filled board, and what tests of the pages ask of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.app.boards import fill
from tests.app.pages.markup import Markup
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example


@dataclass(frozen=True)
class Site:
    """A running server with a filled board, as a browser asks it."""

    service: Service
    ids: dict[str, str]
    browser: httpx.Client

    def text(self, path: str) -> str:
        """Return a page."""
        response = self.browser.get(path)
        assert response.status_code == httpx.codes.OK, response.text
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        return response.text

    def page(self, path: str) -> Markup:
        """Return a page, parsed."""
        return Markup(self.text(path))

    def api(self, path: str) -> Any:
        """Return what the API says."""
        return self.service.client.get(path).json()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, toy: Example, open_toy: Example) -> Iterator[Site]:
    with (
        Service(tmp_path_factory.mktemp("site")) as service,
        httpx.Client(base_url=service.url, headers={"Accept": "text/html"}, trust_env=False) as browser,
    ):
        service.publish(toy.folder)
        service.publish(open_toy.folder)
        yield Site(service, fill(service, toy), browser)
