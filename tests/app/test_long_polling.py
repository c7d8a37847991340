"""What it costs the database that somebody waits: few small queries at each look, and the whole view once."""

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
from app.submissions import lifecycle
from tests.app.event_loop import run_in_loop
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.context import AppContext
    from app.results.schemas import SubmissionView
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

FOR_EVER = 1e6
"""Seconds that no test takes: what is waited for so long comes sooner, or the test fails by its own patience."""


class Transactions(NamedTuple):
    """What is asked of a database: of each transaction the statements and what they were given; and how many have ended."""

    begun: list[list[tuple[str, Any]]]
    ended: list[object]


@contextmanager
def _transactions(database: Database) -> Iterator[Transactions]:
    """Give what is asked of a database meanwhile."""
    seen = Transactions([], [])

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("BEGIN"):
            seen.begun.append([])
        else:
            seen.begun[-1].append((statement, parameters))

    end = seen.ended.append
    event.listen(database.engine, "before_cursor_execute", note)
    event.listen(database.engine, "rollback", end)  # of what only reads
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
        event.remove(database.engine, "rollback", end)


@pytest.fixture
def other(harness: ServiceHarness) -> Iterator[Database]:
    """The database of another process: what it changes is announced to nobody here."""
    opened = Database(str(harness.database.engine.url))
    yield opened
    opened.close()


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits look when a change is announced, and never otherwise."""
    monkeypatch.setattr("app.api.submissions.POLL_SECONDS", FOR_EVER)


@pytest.fixture
def unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever waits look again and again."""
    monkeypatch.setattr("app.api.submissions.POLL_SECONDS", 0.001)


def _move(database: Database, submission_id: str, before: State, after: State) -> None:
    with database.write() as session:
        assert lifecycle.move(session, submission_id, before, after)


async def _show(harness: ServiceHarness, submission_id: str, seconds: float, waits: WaitLimiter | None = None) -> SubmissionView:
    """Call from the address 192.0.2.1."""
    context = cast("AppContext", SimpleNamespace(database=harness.database, wait_limiter=waits or WaitLimiter()))
    request = Request({"type": "http", "headers": [], "client": ("192.0.2.1", 1)})
    return await show_submission(request, context, None, submission_id, wait=seconds)


def _wait(
    harness: ServiceHarness, submission_id: str, *changes: Callable[[], object], waits: WaitLimiter | None = None
) -> tuple[SubmissionView, Transactions]:
    """Wait for a submission while it is changed, each time when one more look has ended; return it, and what was asked."""

    async def waiting(seen: Transactions) -> SubmissionView:
        answer = asyncio.create_task(_show(harness, submission_id, FOR_EVER, waits))
        for looks, change in enumerate(changes, 1):
            await asyncio.to_thread(until, lambda looks=looks: len(seen.ended) >= looks, f"the end of look {looks}")
            await asyncio.to_thread(change)
        return await asyncio.wait_for(answer, PATIENCE_SECONDS)

    with _transactions(harness.database) as seen:
        return run_in_loop(waiting(seen)), seen


@pytest.mark.usefixtures("announced")
def test_waiting_for_an_upload_costs_one_query_per_check(harness: ServiceHarness, other: Database) -> None:
    submission_id = harness.reserve(1)

    def look() -> None:
        harness.database.changes.announce([submission_id])

    def expire() -> None:
        _move(other, submission_id, State.UPLOADING, State.EXPIRED)
        look()

    shown, seen = _wait(harness, submission_id, look, look, expire)
    assert shown.state == "expired"
    *looks, view = seen.begun
    assert [len(asked) for asked in looks] == [1, 1, 1, 1]
    assert len(view) > 1


@pytest.mark.usefixtures("announced")
def test_waiting_in_the_queue_costs_few_queries_per_check(
    harness: ServiceHarness, other: Database, toy: Example
) -> None:
    submission_id = harness.accept(npy(toy.scores()))

    def look() -> None:
        harness.database.changes.announce([submission_id])

    def claim() -> None:
        _move(other, submission_id, State.QUEUED, State.SCORING)
        look()

    shown, seen = _wait(harness, submission_id, look, claim)
    assert shown.state == "scoring"
    *looks, view = seen.begun
    assert len(looks) == 3
    assert max(map(len, looks)) <= 5 < len(view)


@pytest.mark.usefixtures("announced")
def test_state_change_is_announced_only_after_its_commit(harness: ServiceHarness) -> None:
    submission_id, another = harness.reserve(1), harness.reserve(1, "theirs")

    def change() -> None:
        harness.move(another, State.UPLOADING, State.EXPIRED)
        with suppress(RuntimeError), harness.database.write() as session:
            lifecycle.move(session, submission_id, State.UPLOADING, State.EXPIRED)
            raise RuntimeError("rolled back")
        harness.move(submission_id, State.UPLOADING, State.EXPIRED)

    shown, seen = _wait(harness, submission_id, change)
    assert shown.state == "expired"
    looks = [asked for asked in seen.begun if len(asked) == 1 and "FROM submission" in asked[0][0]]
    assert len(looks) == 2  # nobody looks for what was rolled back, or for another submission
    assert not harness.database.changes._waiting


@pytest.mark.usefixtures("unannounced")
def test_unannounced_change_is_found_by_polling(harness: ServiceHarness, other: Database) -> None:
    submission_id = harness.reserve(1)
    shown, _ = _wait(harness, submission_id, lambda: _move(other, submission_id, State.UPLOADING, State.EXPIRED))
    assert shown.state == "expired"


@pytest.mark.usefixtures("unannounced")
def test_changed_queue_position_ends_the_wait(harness: ServiceHarness, toy: Example) -> None:
    first, second = (harness.accept(npy(toy.scores(noise)), f"m{noise}") for noise in (0.1, 0.2))
    shown, _ = _wait(harness, second, lambda: harness.move(first, State.QUEUED, State.WITHDRAWN))
    assert shown.state == "queued"
    assert shown.queue is not None
    assert shown.queue.position == 1


def test_long_polls_return_each_state_of_an_evaluation_once(service: Service, token: str, toy: Example) -> None:
    sent = service.submit(token, "toy", npy(toy.scores(seed=77)), kind="practice").json()
    states = [sent["state"]]
    while states[-1] not in FINAL:
        states.append(service.client.get(f"/submissions/{sent['id']}", params={"wait": 25}).json()["state"])
    # Each state once, whatever the first answer told already; queued again only where its place has changed.
    order = ["queued", "scoring", "scored"]
    assert states[-1] == "scored"
    assert states == sorted(states, key=order.index)
    assert states.count("scoring") <= 1


def test_final_state_is_returned_at_once(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    harness.move(submission_id, State.UPLOADING, State.EXPIRED)
    with _transactions(harness.database) as seen:
        assert run_in_loop(_show(harness, submission_id, PATIENCE_SECONDS)).state == "expired"
    assert len(seen.begun) == 2


def test_request_above_the_wait_limit_is_answered_at_once(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    waits = WaitLimiter(1)
    with waits.slot("192.0.2.1"), _transactions(harness.database) as seen:
        assert run_in_loop(_show(harness, submission_id, FOR_EVER, waits)).state == "uploading"
    assert len(seen.begun) == 1
    with waits.slot("192.0.2.2"):
        view, _ = _wait(
            harness, submission_id, lambda: harness.move(submission_id, State.UPLOADING, State.EXPIRED), waits=waits
        )
    assert view.state == "expired"


def test_unchanged_state_fragment_costs_one_query(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    with _transactions(harness.database) as seen, harness.database.read() as session:
        answer = show_state(session, cast("AppContext", None), None, "", submission_id, seen="uploading")
    assert answer.status_code == 204
    assert [len(statements) for statements in seen.begun] == [1]


def test_attempt_count_uses_the_quota_index(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1)
    with _transactions(harness.database) as seen, harness.database.read() as session:
        submission_views.submission_view(session, session.get_one(Submission, submission_id))
    (counting,) = [asked for asked in seen.begun[0] if "submission.counted" in asked[0] and "count(" in asked[0]]
    with harness.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {counting[0]}", counting[1]).all()
    assert [row.detail for row in plan] == [
        "SEARCH submission USING INDEX ix_submission_quota (user_id=? AND version_id=?)"
    ]
