"""The page of a submission that is being scored: its progress changes without a reload, and is not read out each time."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from app.db.models import Evaluation
from tests.app.benchmarks import write_benchmark
from tests.app.processes import fork_server
from tests.app.sandbox.processes import open_for_writing, replace_by_pipe
from tests.app.service import Service, npy, until
from tests.browser.conftest import Site, Visitor
from tests.browser.page_faults import find_faults
from tests.processes import stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.server, pytest.mark.slow]


class HeldScoring:
    """A server whose scoring process waits for the content of its score file, which the test holds back."""

    def __init__(self, service: Service, folder: Path) -> None:
        example = write_benchmark(folder)
        service.publish(example.folder)
        self._service, fork_server_pid = service, fork_server(service.process.pid)
        stop(fork_server_pid)
        self.id = service.submit(service.token("ada"), "toy", npy(example.scores())).json()["id"]
        until(lambda: service.row(self.id).state == "scoring", "a claimed submission")
        (self._file,) = service.settings.storage_dir.rglob(str(service.row(self.id).file_sha256))
        self._aside = replace_by_pipe(self._file)
        os.kill(fork_server_pid, signal.SIGCONT)
        self._end = until(lambda: open_for_writing(self._file), "a scoring process that reads")

    def report(self, percent: int) -> None:
        """Save a progress in the database, as another server process would."""
        with self._service.database.write() as session:
            session.execute(update(Evaluation).values(percent=percent))

    def release(self) -> None:
        """Restore the file; the scoring process fails on the empty one, and the next attempt scores the file."""
        self._aside.replace(self._file)
        os.close(self._end)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Service, HeldScoring]]:
    with Service(tmp_path, retry_seconds=0) as service:
        yield service, HeldScoring(service, tmp_path / "benchmark")


def _count_states(page: Page) -> None:
    """Count in ``document.body.dataset.states`` how often the state, which screen readers read out, is replaced."""
    page.evaluate(
        """() => {
            document.body.dataset.states = 0
            new MutationObserver(changes => {
                const added = changes.flatMap(change => [...change.addedNodes])
                document.body.dataset.states =
                    Number(document.body.dataset.states) + added.filter(node => node.classList?.contains("state")).length
            }).observe(document.querySelector("[role=status]"), {childList: true})
        }"""
    )


def test_page_shows_the_progress_without_reload(browser: Browser, held: tuple[Service, HeldScoring]) -> None:
    service, scoring = held
    visitor = Visitor(browser, Site(service.url, {}, service, None))  # type: ignore[arg-type]  # the site has no pictures
    page = visitor.open(f"/submissions/{scoring.id}", width=390)
    state = page.locator(".state strong")
    assert state.inner_text() == "Scoring."
    _count_states(page)
    for percent in (1, 40, 41):
        scoring.report(percent)
        page.get_by_text(f"Scoring, {percent}\u202f%.").wait_for()
    assert find_faults(page) == []
    assert page.locator("body").get_attribute("data-states") == "0"
    reloaded = visitor.open(f"/submissions/{scoring.id}", javascript=False)
    assert reloaded.locator(".state strong").inner_text() == "Scoring, 41\u202f%."
    scoring.release()
    page.get_by_text("Scored.").wait_for()
    assert page.locator("#progress").count() == 0
    assert int(page.locator("body").get_attribute("data-states") or 0) > 0  # the same page shows the result
    assert visitor.errors == []
    page.close()
    reloaded.close()
