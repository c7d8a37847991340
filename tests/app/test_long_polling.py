"""Long polling: each check costs few small queries, and the full view is read once."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from fastapi import Request
from sqlalchemy import event

from app.accounts.rate_limits import WaitLimiter
from app.api.submissions import show_submission
from app.db.models import FINAL, State, Submission
from app.db.sessions import Database
from app.pages.submissions import show_state
from app.results import submission_views
from app.scoring.sandbox.client import Sandbox
from app.submissions import lifecycle
from tests.app.event_loop import run_in_loop
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.context import AppContext
    from app.results.schemas import SubmissionView
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

FOREVER_SECONDS = 1e6
"""Seconds, longer than any test: the awaited change comes earlier, or the test fails after `PATIENCE_SECONDS`."""


class Transactions(NamedTuple):
    """The transactions of a database: (statement, parameters) pairs of each, and one object per ended transaction."""

    started: list[list[tuple[str, Any]]]
    ended: list[object]


@contextmanager
def _transactions(database: Database) -> Iterator[Transactions]:
    """Record the transactions of a database until the context ends."""
    seen = Transactions([], [])

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("BEGIN"):
            seen.started.append([])
        else:
            seen.started[-1].append((statement, parameters))

    end = seen.ended.append
    event.listen(database.engine, "before_cursor_execute", note)
    event.listen(database.engine, "rollback", end)  # read-only transactions end with a rollback
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
        event.remove(database.engine, "rollback", end)


@pytest.fixture
def other_process(harness: ServiceHarness) -> Iterator[Database]:
    """A second connection to the database, like that of another process: its changes are not announced."""
    opened = Database(str(harness.database.engine.url))
    yield opened
    opened.close()


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waiting requests check only when a change is announced."""
    monkeypatch.setattr("app.api.submissions.POLL_SECONDS", FOREVER_SECONDS)


@pytest.fixture
def fast_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waiting requests check every millisecond."""
    monkeypatch.setattr("app.api.submissions.POLL_SECONDS", 0.001)


def _move(database: Database, submission_id: str, before: State, after: State) -> None:
    with database.write() as session:
        assert lifecycle.transition(session, submission_id, before, after)


async def _show(
    harness: ServiceHarness, submission_id: str, seconds: float, waits: WaitLimiter | None = None
) -> SubmissionView:
    """Request a submission with long polling from the address 192.0.2.1."""
    context = cast(
        "AppContext",
        SimpleNamespace(
            database=harness.database,
            sandbox=harness.sandbox,
            settings=SimpleNamespace(workers_score=False),
            wait_limiter=waits or WaitLimiter(),
        ),
    )
    request = Request({"type": "http", "headers": [], "client": ("192.0.2.1", 1)})
    return await show_submission(request, context, None, submission_id, wait=seconds)


def _wait(
    harness: ServiceHarness, submission_id: str, *changes: Callable[[], object], waits: WaitLimiter | None = None
) -> tuple[SubmissionView, Transactions]:
    """Long-poll a submission and apply each change after another check has ended; return the view and the transactions."""

    async def waiting(seen: Transactions) -> SubmissionView:
        answer = asyncio.create_task(_show(harness, submission_id, FOREVER_SECONDS, waits))
        for looks, change in enumerate(changes, 1):
            await asyncio.to_thread(until, lambda looks=looks: len(seen.ended) >= looks, f"the end of look {looks}")
            await asyncio.to_thread(change)
        return await asyncio.wait_for(answer, PATIENCE_SECONDS)

    with _transactions(harness.database) as seen:
        return run_in_loop(waiting(seen)), seen


@pytest.mark.usefixtures("no_polling")
def test_waiting_for_an_upload_costs_one_query_per_check(harness: ServiceHarness, other_process: Database) -> None:
    submission_id = harness.reserve(1)

    def look() -> None:
        harness.database.changes.announce([submission_id])

    def expire() -> None:
        _move(other_process, submission_id, State.UPLOADING, State.EXPIRED)
        look()

    shown, seen = _wait(harness, submission_id, look, look, expire)
    assert shown.state == "expired"
    *looks, view = seen.started
    assert [len(statements) for statements in looks] == [1, 1, 1, 1]
    assert len(view) > 1


@pytest.mark.usefixtures("no_polling")
def test_waiting_in_the_queue_costs_few_queries_per_check(
    harness: ServiceHarness, other_process: Database, toy: Example
) -> None:
    submission_id = harness.accept(npy(toy.scores()))

    def look() -> None:
        harness.database.changes.announce([submission_id])

    def claim() -> None:
        _move(other_process, submission_id, State.QUEUED, State.SCORING)
        look()

    shown, seen = _wait(harness, submission_id, look, claim)
    assert shown.state == "scoring"
    *looks, view = seen.started
    assert len(looks) == 3
    assert max(map(len, looks)) <= 6 < len(view)


@pytest.mark.usefixtures("no_polling")
def test_state_change_is_announced_only_after_its_commit(harness: ServiceHarness) -> None:
    submission_id, another = harness.reserve(1), harness.reserve(1, "theirs")

    def change() -> None:
        harness.move(another, State.UPLOADING, State.EXPIRED)
        with suppress(RuntimeError), harness.database.write() as session:
            lifecycle.transition(session, submission_id, State.UPLOADING, State.EXPIRED)
            raise RuntimeError("rolled back")
        harness.move(submission_id, State.UPLOADING, State.EXPIRED)

    shown, seen = _wait(harness, submission_id, change)
    assert shown.state == "expired"
    looks = [
        statements for statements in seen.started if len(statements) == 1 and "FROM submission" in statements[0][0]
    ]
    assert len(looks) == 2  # no check for a rolled-back change or another submission
    assert not harness.database.changes._waiting


@pytest.mark.usefixtures("fast_polling")
def test_unannounced_change_is_found_by_polling(harness: ServiceHarness, other_process: Database) -> None:
    submission_id = harness.reserve(1)
    shown, _ = _wait(
        harness, submission_id, lambda: _move(other_process, submission_id, State.UPLOADING, State.EXPIRED)
    )
    assert shown.state == "expired"


@pytest.mark.usefixtures("fast_polling")
def test_changed_queue_position_ends_the_wait(harness: ServiceHarness, toy: Example) -> None:
    first, second = (harness.accept(npy(toy.scores(noise)), f"m{noise}") for noise in (0.1, 0.2))
    shown, _ = _wait(harness, second, lambda: harness.move(first, State.QUEUED, State.WITHDRAWN))
    assert shown.state == "queued"
    assert shown.queue is not None
    assert shown.queue.position == 1


@pytest.mark.usefixtures("fast_polling")
def test_restart_of_scoring_ends_the_wait(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    shown, _ = _wait(harness, submission_id, lambda: monkeypatch.setattr(Sandbox, "is_restarting", True))
    assert (shown.state, shown.notice) == ("queued", submission_views.RESTARTING)


def test_long_polls_return_each_state_of_an_evaluation_once(service: Service, token: str, toy: Example) -> None:
    sent = service.submit(token, "toy", npy(toy.scores(seed=77)), kind="practice").json()
    states = [sent["state"]]
    while states[-1] not in FINAL:
        states.append(service.client.get(f"/submissions/{sent['id']}", params={"wait": 25}).json()["state"])
    # Each state is returned once; "queued" repeats only with a new queue position.
    order = ["queued", "scoring", "scored"]
    assert states[-1] == "scored"
    assert states == sorted(states, key=order.index)
    assert states.count("scoring") <= 1


def test_final_state_is_returned_at_once(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    harness.move(submission_id, State.UPLOADING, State.EXPIRED)
    with _transactions(harness.database) as seen:
        assert run_in_loop(_show(harness, submission_id, PATIENCE_SECONDS)).state == "expired"
    assert len(seen.started) == 2


def test_request_above_the_wait_limit_is_answered_at_once(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    waits = WaitLimiter(1)
    with waits.slot("192.0.2.1"), _transactions(harness.database) as seen:
        assert run_in_loop(_show(harness, submission_id, FOREVER_SECONDS, waits)).state == "uploading"
    assert len(seen.started) == 1
    with waits.slot("192.0.2.2"):
        view, _ = _wait(
            harness, submission_id, lambda: harness.move(submission_id, State.UPLOADING, State.EXPIRED), waits=waits
        )
    assert view.state == "expired"


def test_unchanged_state_fragment_costs_one_query(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    with _transactions(harness.database) as seen, harness.database.read() as session:
        context = cast(
            "AppContext", SimpleNamespace(sandbox=harness.sandbox, settings=SimpleNamespace(workers_score=False))
        )
        answer = show_state(session, context, None, submission_id, seen="uploading")
    assert answer.status_code == 204
    assert [len(statements) for statements in seen.started] == [1]


def test_attempt_count_uses_the_quota_index(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    with _transactions(harness.database) as seen, harness.database.read() as session:
        submission_views.submission_view(session, session.get_one(Submission, submission_id))
    (counting,) = [
        statements
        for statements in seen.started[0]
        if "submission.counted" in statements[0] and "count(" in statements[0]
    ]
    with harness.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {counting[0]}", counting[1]).all()
    assert [row.detail for row in plan] == [
        "SEARCH submission USING INDEX ix_submission_quota (user_id=? AND version_id=?)"
    ]
