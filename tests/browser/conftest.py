"""A browser and a server; a browser error, or a request to another origin, on any page fails the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import select

from app.benchmarks import catalog
from app.db.models import Submission
from app.management import snapshots
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.boards import fill_board
from tests.app.evaluated import save_falls
from tests.app.service import PATIENCE_SECONDS, Service, npy
from tests.browser.chromium import launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example


@dataclass(frozen=True)
class Site:
    """A server with five boards.

    These are toy (filled), open-toy, once (no noise ceiling), drawn (with images and falls) and crowd (60 entries).
    """

    url: str
    ids: dict[str, str]
    service: Service
    drawn: Example
    snapshots: list[str] = field(default_factory=list)
    """The pages of the snapshots of toy and crowd."""

    @property
    def paths(self) -> list[str]:
        """The path of every page."""
        pair = f"/compare?a={self.ids['good']}&b={self.ids['middling']}"
        return [
            "/",
            "/benchmarks/toy",
            "/benchmarks/open-toy",
            "/benchmarks/once",
            *(f"/benchmarks/{name}/about" for name in ("toy", "open-toy", "once")),
            "/benchmarks/toy/submit",
            "/guide",
            "/compare",
            "/compare?benchmark=toy",
            pair,
            f"{pair}&c={self.ids['random']}",
            *(f"/submissions/{submission_id}" for submission_id in self.ids.values()),
            *self.snapshots,
        ]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    toy = write_benchmark(tmp_path_factory.mktemp("toy"))
    with Service(tmp_path_factory.mktemp("site")) as service:
        service.publish(toy.folder)
        service.publish(write_benchmark(tmp_path_factory.mktemp("open"), "open-toy", split="open").folder)
        once = write_benchmark(tmp_path_factory.mktemp("once"), "once", split="open", runs=1)
        service.publish(once.folder)
        alone = service.submit_and_score(service.token("ada"), once.name, npy(once.scores()))
        service.publish(write_benchmark(tmp_path_factory.mktemp("crowd"), "crowd").folder)
        with service.database.write() as session:
            factories.add_entries(session, catalog.find_version(session, "crowd"), 60)
            longest = session.scalars(select(Submission).where(Submission.method.contains("ek-fac"))).first()
            assert longest
            longest.method, longest.title = "m" * 64, "\N{HEBREW LETTER ALEF}" * 160 + " <b>long</b>"
        drawn = write_benchmark(tmp_path_factory.mktemp("drawn"), "drawn", N=30, pictures=(8, 8))
        service.publish(drawn.folder)
        pictured = service.submit_and_score(service.token("ada"), drawn.name, npy(drawn.scores()))
        save_falls(service, pictured["id"], range(0, 30, 2), (1, 3, 12), 3, ties=1)
        ids = fill_board(service, toy) | {"alone": alone["id"], "pictured": pictured["id"]}
        settings = service.settings
        taken = [
            snapshots.take(service.database, settings.snapshots_dir, settings.public_url, name)
            for name in ("toy", "crowd")
        ]
        pages = [snapshot.address.removeprefix(settings.public_url) for snapshot in taken]
        yield Site(service.url, ids, service, drawn, pages)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@dataclass
class Visitor:
    """Opens pages of the site, and records console errors, page errors and foreign requests in `errors`."""

    browser: Browser
    site: Site
    errors: list[str] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    def open(self, path: str, *, width: int = 1280, dark: bool = False, javascript: bool = True) -> Page:
        """Open a path in a new window, and wait until its charts are drawn."""
        page = self.browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
            base_url=self.site.url,
        )
        self.pages.append(page)
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.on("console", lambda message: self._record(message.type in ("error", "warning"), message.text))
        page.on("pageerror", lambda error: self._record(True, str(error)))
        page.on("request", lambda request: self._record(self._is_foreign(request.url), request.url))
        self.visit(page, path)
        return page

    def visit(self, page: Page, path: str) -> None:
        """Go to a path in an open window, and wait until its charts are drawn."""
        page.goto(path)
        # wait_for_function would evaluate a string, which the page's Content-Security-Policy forbids.
        for figure in page.locator("figure[data-chart]:not([hidden])").all():
            figure.locator("svg.plot").wait_for()

    def _record(self, is_error: bool, text: str) -> None:
        if is_error:
            self.errors.append(text)

    def _is_foreign(self, url: str) -> bool:
        return not url.startswith((self.site.url, "data:"))


@pytest.fixture
def visitor(browser: Browser, site: Site) -> Iterator[Visitor]:
    """A visitor of the site; an error, a policy violation or a request to another origin fails the test at the end."""
    opened = Visitor(browser, site)
    yield opened
    for page in opened.pages:
        page.close()
    assert opened.errors == []
