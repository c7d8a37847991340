"""Lists take the same number of SQL statements for any number of submissions, and read no arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event, select, update

from app.accounts import users
from app.api.editing import list_own_submissions
from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import Submission
from app.leaderboard.entries import list_entries
from tests.app import factories

if TYPE_CHECKING:
    from tests.app.harness import ServiceHarness


def _noted(harness: ServiceHarness, statements: list[tuple[str, Any]]) -> None:
    """Append the SQL and the parameters of every further statement of the harness to `statements`."""

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        statements.append((statement, parameters))

    event.listen(harness.database.engine, "before_cursor_execute", note)


def test_board_reads_the_numbers_of_its_entries_without_the_pages_of_their_arrays(harness: ServiceHarness) -> None:
    statements: list[tuple[str, Any]] = []
    with harness.database.write() as session:
        factories.add_entries(session, catalog.find_version(session, "toy"), 3)
    with harness.database.read() as session:
        version = catalog.find_version(session, "toy")
        _noted(harness, statements)
        assert len(list_entries(session, version)) == 3
        ((query, parameters),) = [each for each in statements if "measurement" in each[0]]
        plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", parameters).all()
    (step,) = [row.detail for row in plan if "measurement" in row.detail]
    assert "COVERING INDEX ix_measurement_numbers" in step


def test_listing_own_submissions_takes_a_constant_number_of_statements(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        factories.add_entries(session, catalog.find_version(session, "toy"), 12)
        owner = session.scalars(select(User).where(User.name == "lab-000")).one()
        session.execute(update(Submission).values(user_id=owner.id, visibility="public"))
    statements: list[tuple[str, Any]] = []
    _noted(harness, statements)
    counts = []
    for limit in (2, 12):
        with harness.database.read() as session:
            caller = users.read_only_account(session.get_one(User, owner.id))
            statements.clear()
            views = list_own_submissions(caller, session, 0, limit)
            counts.append(len(statements))
        assert [view.attempts for view in views] == [12] * limit
        assert all(view.hidden and view.public for view in views)
    assert counts[0] == counts[1] <= 10
