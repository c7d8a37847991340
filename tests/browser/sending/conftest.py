"""A server for the submission form, a visitor of that server, and the list of API requests of the visitor's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.benchmarks import write_benchmark
from tests.app.pages.provider import Provider
from tests.app.service import Service
from tests.browser.conftest import Site, Visitor
from tests.browser.sending.form import LIMIT, N_TRAIN, PART_BYTES, TARGETS, Board

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    example = write_benchmark(tmp_path_factory.mktemp("large"), "large", n=N_TRAIN, N=TARGETS)
    with (
        Provider() as provider,
        Service(
            tmp_path_factory.mktemp("board"), part_bytes=PART_BYTES, max_upload_bytes=LIMIT, **provider.settings
        ) as service,
    ):
        service.publish(example.folder)
        yield Board(service, example)


@pytest.fixture
def visitor(browser: Browser, board: Board) -> Iterator[Visitor]:
    opened = Visitor(browser, Site(board.service.url, {}, board.service, board.example, []))
    yield opened
    for page in opened.pages:
        page.close()
    assert opened.errors == []


@pytest.fixture
def calls() -> list[str]:
    """The API requests of the page, as method and path, in order."""
    return []
