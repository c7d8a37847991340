"""What a list of submissions costs the database: as many statements for many as for few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event, select, update

from app.accounts import users
from app.api.editing import list_own
from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import Submission
from tests.app import factories

if TYPE_CHECKING:
    from tests.app.harness import Desk


def test_a_longer_list_of_ones_own_takes_no_more_statements(desk: Desk) -> None:
    with desk.database.write() as session:
        factories.fill(session, catalog.find_version(session, "toy"), 12)
        owner = session.scalars(select(User).where(User.name == "lab-000")).one()
        session.execute(update(Submission).values(user_id=owner.id, visibility="public"))
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(desk.database.engine, "before_cursor_execute", note)
    counts = []
    for limit in (2, 12):
        with desk.database.read() as session:
            caller = users.holder(session.get_one(User, owner.id))
            statements.clear()
            views = list_own(caller, session, 0, limit)
            counts.append(len(statements))
        assert [view.attempts for view in views] == [12] * limit
        assert all(view.hidden and view.public for view in views)
    assert counts[0] == counts[1] <= 10
