"""Save how much of an evaluation is done, so that every server process can show it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from app.db.models import Evaluation
from app.errors import BusyError
from app.scoring.queue import is_held

if TYPE_CHECKING:
    from app.db.sessions import Database

WRITE_SECONDS = 1.0
"""Smallest number of seconds from the start of an evaluation to its first write, and between two writes."""

log = structlog.get_logger()


class ProgressRecord:
    """Saves the progress of one evaluation: each percent at most once, and at most one percent in `WRITE_SECONDS`.

    An evaluation that takes less than a second writes nothing, and no evaluation writes more than 100 times. The numbers come
    from a scoring process, which may send anything. Nothing is saved after the evaluation was requeued.

    Parameters
    ----------
    claimed
        The evaluation, as it was claimed.
    """

    def __init__(self, database: Database, claimed: Evaluation) -> None:
        self._database = database
        self._claimed = claimed
        self._percent = 0
        self._next_write = time.monotonic() + WRITE_SECONDS

    def save(self, fraction: float) -> None:
        """Save the fraction of the targets that are scored, in (0, 1]; an error of the database is only logged."""
        percent, moment = int(100 * fraction + 1e-9), time.monotonic()
        if percent <= self._percent or moment < self._next_write:
            return
        self._percent, self._next_write = percent, moment + WRITE_SECONDS
        try:
            with self._database.write() as session:
                session.execute(update(Evaluation).where(is_held(self._claimed)).values(percent=percent))
        except (BusyError, SQLAlchemyError) as error:  # the evaluation goes on without it
            log.warning("progress.not_saved", evaluation=self._claimed.id, exc_info=error)
