"""Tickets: jobs of procrastinate on PostgreSQL, each of which lets a worker score one evaluation.

A ticket names no evaluation, only a queue. The worker that takes a ticket claims the evaluation whose turn it is, so that users
take turns as they do within one server. A ticket without an evaluation to claim ends at once; a missing ticket is replaced within
seconds. Therefore only the rows of evaluations say what is to be done.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from procrastinate import App
    from sqlalchemy.orm import Session

TICKETS = "ldsboard_tickets"
"""Key in ``Session.info`` for the tickets of the transaction: how many for each queue and time."""


class Queue(StrEnum):
    """First evaluations of submissions, for which a user waits; and rescorings of whole boards."""

    SCORING = "scoring"
    RESCORING = "rescoring"


def note_ticket(session: Session, queue: Queue, due: datetime | None = None, count: int = 1) -> None:
    """Note that the transaction makes evaluations claimable, now or at the time `due`.

    If workers score, `Database.write` defers the tickets in the same transaction; otherwise the threads of the server look for
    evaluations themselves.
    """
    noted: dict[tuple[Queue, datetime | None], int] = session.info.setdefault(TICKETS, {})
    if count:
        noted[queue, due] = noted.get((queue, due), 0) + count


def defer_tickets(session: Session) -> None:
    """Defer the noted tickets on the session's own connection: they exist if, and only if, the transaction commits."""
    noted: Mapping[tuple[Queue, datetime | None], int] = session.info.pop(TICKETS, {})
    for (queue, due), count in noted.items():
        # Looked up for each call: once the transaction has ended, the pool can give this connection to another thread.
        connection = session.connection().connection.driver_connection
        task = _deferrer().configure_task(queue.value, queue=queue.value, schedule_at=due, connection=connection)
        task.batch_defer(*({} for _ in range(count)))


@cache
def _deferrer() -> App:
    """Return an application of procrastinate without a connection, which can only defer on the connections of others."""
    from procrastinate import App, SyncPsycopgConnector  # noqa: PLC0415 -- slow to import, and needed with workers only

    return App(connector=SyncPsycopgConnector())
