"""What it costs the database that somebody waits: few small queries at each look, and the whole view once."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fastapi import Request
from sqlalchemy import event

from app.api.submissions import show_submission
from app.db.models import State, Submission
from app.pages.submissions import show_state
from app.rates import Waits
from app.services import results
from tests.app.service import PATIENCE_SECONDS, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.db.sessions import Database
    from app.rooms import Rooms
    from app.services.views import SubmissionView
    from tests.app.benchmarks import Example
    from tests.app.desk import Desk

SECONDS = 0.6
"""So long, there is time for a look at once, one after half a second, and one at the end."""


@contextmanager
def _transactions(database: Database) -> Iterator[list[list[tuple[str, Any]]]]:
    """Give what is asked of a database meanwhile: of each transaction the statements and what they were given."""
    seen: list[list[tuple[str, Any]]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("BEGIN"):
            seen.append([])
        else:
            seen[-1].append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def _wait(desk: Desk, submission_id: str, seconds: float, waits: Waits | None = None) -> SubmissionView:
    rooms = cast("Rooms", SimpleNamespace(database=desk.database, waits=waits or Waits()))
    request = Request({"type": "http", "headers": [], "client": ("192.0.2.1", 1)})
    return asyncio.run(show_submission(request, rooms, None, submission_id, wait=seconds))


def test_who_waits_for_a_file_to_come_costs_one_query_at_each_look(desk: Desk) -> None:
    submission_id = desk.reserve(1)
    with _transactions(desk.database) as seen:
        assert _wait(desk, submission_id, SECONDS).state == "uploading"
    *looks, view = seen
    assert 2 <= len(looks) <= 3
    assert [len(look) for look in looks] == [1] * len(looks)
    assert len(view) > 1


def test_who_waits_in_the_queue_costs_the_queries_of_the_place_at_each_look(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    with _transactions(desk.database) as seen:
        shown = _wait(desk, submission_id, SECONDS)
    assert shown.queue is not None
    *looks, view = seen
    assert 2 <= len(looks) <= 3
    assert max(map(len, looks)) <= 5 < len(view)


def test_a_change_ends_the_wait_and_is_shown(desk: Desk, toy: Example) -> None:
    first, second = (desk.accept(npy(toy.scores(noise)), f"m{noise}") for noise in (0.1, 0.2))
    with _transactions(desk.database) as seen:

        async def waiting() -> SubmissionView:
            rooms = cast("Rooms", SimpleNamespace(database=desk.database, waits=Waits()))
            request = Request({"type": "http", "headers": []})
            answer = asyncio.create_task(show_submission(request, rooms, None, second, wait=PATIENCE_SECONDS))
            await asyncio.to_thread(until, lambda: seen and len(seen[0]) == 5, "the end of the first look")
            await asyncio.to_thread(desk.move, first, State.QUEUED, State.WITHDRAWN)
            return await answer

        shown = asyncio.run(waiting())
    assert shown.state == "queued"
    assert shown.queue is not None
    assert shown.queue.position == 1


def test_what_is_final_is_not_waited_for(desk: Desk) -> None:
    submission_id = desk.reserve(1)
    desk.move(submission_id, State.UPLOADING, State.EXPIRED)
    with _transactions(desk.database) as seen:
        assert _wait(desk, submission_id, PATIENCE_SECONDS).state == "expired"
    assert len(seen) == 2


def test_one_more_than_may_wait_is_answered_at_once(desk: Desk) -> None:
    submission_id = desk.reserve(1)
    waits = Waits(1)
    with waits.one("192.0.2.1"), _transactions(desk.database) as seen:
        assert _wait(desk, submission_id, SECONDS, waits).state == "uploading"
    assert len(seen) == 1
    with waits.one("192.0.2.2"), _transactions(desk.database) as seen:
        _wait(desk, submission_id, SECONDS, waits)
    assert len(seen) > 2


def test_a_page_that_knows_the_state_costs_one_query(desk: Desk) -> None:
    submission_id = desk.reserve(1)
    with _transactions(desk.database) as seen, desk.database.read() as session:
        answer = show_state(session, cast("Rooms", None), None, "", submission_id, seen="uploading")
    assert answer.status_code == 204
    assert [len(statements) for statements in seen] == [1]


def test_attempts_of_one_submission_are_counted_among_those_of_its_user(desk: Desk) -> None:
    submission_id = desk.reserve(1)
    with _transactions(desk.database) as seen, desk.database.read() as session:
        results.view(session, session.get_one(Submission, submission_id))
    (counting,) = [asked for asked in seen[0] if "submission.counted" in asked[0] and "count(" in asked[0]]
    with desk.database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {counting[0]}", counting[1]).all()
    assert [row.detail for row in plan] == [
        "SEARCH submission USING INDEX ix_submission_quota (user_id=? AND version_id=?)"
    ]
