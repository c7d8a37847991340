"""Each page takes at most twelve SQL statements, however many entries its board has."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from app.accounts import tokens, users
from app.context import AppContext
from app.db.migration import upgrade
from app.main import create_app
from app.settings import Settings
from tests.app.benchmarks import publish
from tests.app.service import npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example

MAX_STATEMENTS = 12
METHODS = ("first", "second", "third", "fourth")
OWNERS = 10
"""As many submissions as one comparison takes, each of another owner."""


class Site:
    """A server within this process, with a board of four scored submissions."""

    def __init__(self, client: TestClient, context: AppContext, toy: Example) -> None:
        self.client, self._context = client, context
        publish(context.database, context.settings.benchmarks_dir, toy.folder)
        self.ids = [self._submit(toy, "ada", method) for method in METHODS]
        self.anonymous_ids = [self._submit(toy, f"user{i}", "hidden&visibility=anonymous") for i in range(OWNERS)]
        until(lambda: all(map(self._is_scored, self.ids + self.anonymous_ids)), "scored submissions")

    def _submit(self, toy: Example, name: str, query: str) -> str:
        with self._context.database.write() as session:
            _, token = tokens.create(session, users.add_user(session, name, ranked_per_day=100))
        sent = self.client.put(
            f"/api/v1/benchmarks/toy/submissions?method={query}",
            content=npy(toy.scores(noise=len(name), seed=len(query))),
            headers={"Authorization": f"Bearer {token}"},
        )
        assert sent.status_code == 202, sent.text
        return str(sent.json()["id"])

    def _is_scored(self, submission_id: str) -> bool:
        return bool(self.client.get(f"/api/v1/submissions/{submission_id}").json()["state"] == "scored")

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Record the statements of requests; the server's own threads look for work meanwhile."""
        seen: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if threading.current_thread().name.startswith("AnyIO") and statement != "BEGIN":
                seen.append(statement)

        event.listen(self._context.database.engine, "before_cursor_execute", note)
        yield seen
        event.remove(self._context.database.engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
def site(toy: Example, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("statements")
    settings = Settings(data_dir=folder / "data")
    settings.data_dir.mkdir()
    upgrade(settings.resolved_database_url)
    context = AppContext(settings)
    with TestClient(create_app(context)) as client:
        yield Site(client, context, toy)


@pytest.mark.parametrize(
    "page",
    [
        "/",
        "/guide",
        "/sign-in",
        "/benchmarks/toy",
        "/benchmarks/toy?sort=date&q=first",
        "/benchmarks/toy/about",
        "/benchmarks/toy/submit",
        "/benchmarks/toy/feed.atom",
        "/submissions/{0}",
        "/submissions/{0}?target=1",
        "/submissions/{0}/state?seen=queued",
        "/submissions/{0}/badge.svg",
        "/badges/toy/ada/first.svg",
        "/compare?benchmark=toy",
        "/compare?id={0}&id={1}",
        "/compare?id={0}&id={1}&id={2}&id={3}",
    ],
)
def test_page_takes_at_most_twelve_statements(site: Site, page: str) -> None:
    with site.statements() as seen:
        response = site.client.get(page.format(*site.ids), headers={"Accept": "text/html"})
    assert response.status_code == 200
    assert len(seen) <= MAX_STATEMENTS, "\n".join(statement.replace("\n", " ") for statement in seen)


def test_comparison_of_anonymous_submissions_takes_at_most_twelve_statements(site: Site) -> None:
    with site.statements() as seen:
        response = site.client.get("/compare", params={"id": site.anonymous_ids})
    assert response.status_code == 200
    assert "anonymous-10" in response.text
    assert len(seen) <= MAX_STATEMENTS, "\n".join(statement.replace("\n", " ") for statement in seen)
