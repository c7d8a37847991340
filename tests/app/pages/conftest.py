"""Servers for the tests of the pages, and clients that read the pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.app.boards import fill_board
from tests.app.pages.markup import Markup
from tests.app.pages.provider import Provider
from tests.app.pages.signed_in import SignedInUser
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.app.benchmarks import Example


@dataclass(frozen=True)
class Site:
    """A running server with a filled leaderboard, and an HTTP client that accepts HTML."""

    service: Service
    ids: dict[str, str]
    browser: httpx.Client

    def text(self, path: str) -> str:
        """Return the HTML of a page."""
        response = self.browser.get(path)
        assert response.status_code == httpx.codes.OK, response.text
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        return response.text

    def page(self, path: str) -> Markup:
        """Return a parsed page."""
        return Markup(self.text(path))

    def api(self, path: str) -> Any:
        """Return the JSON of an API call."""
        return self.service.client.get(path).json()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, toy: Example, open_toy: Example) -> Iterator[Site]:
    """A server to which tests publish and submit. Tests must not list more entries on toy or open-toy, which others check."""
    with (
        Service(tmp_path_factory.mktemp("site")) as service,
        httpx.Client(base_url=service.url, headers={"Accept": "text/html"}, trust_env=False) as browser,
    ):
        service.publish(toy.folder)
        service.publish(open_toy.folder)
        yield Site(service, fill_board(service, toy), browser)


@pytest.fixture(scope="session")
def empty_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without any benchmark."""
    with Service(tmp_path_factory.mktemp("empty")) as service:
        yield service


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture(scope="session")
def sign_in_service(tmp_path_factory: pytest.TempPathFactory, provider: Provider, toy: Example) -> Iterator[Service]:
    """A server with identity providers, so that users can sign in."""
    with Service(tmp_path_factory.mktemp("board"), **provider.settings) as service:
        service.publish(toy.folder)
        yield service


@pytest.fixture
def sign_in(sign_in_service: Service, provider: Provider) -> Iterator[Callable[[str], SignedInUser]]:
    """A function that signs in the user with a subject of the provider."""
    users: list[SignedInUser] = []

    def enter(subject: str) -> SignedInUser:
        provider.sign_in(subject, subject)
        users.append(SignedInUser(sign_in_service))
        return users[-1]

    yield enter
    for user in users:
        user.client.close()
