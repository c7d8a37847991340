"""Whether a server is ready: its database, its store of uploaded files, and scoring."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from app.db.database_errors import is_away, is_busy
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.scoring.sandbox.client import Sandbox
    from app.submissions.storage import Storage


class Part(StrEnum):
    """A part of a server that must be ready."""

    DATABASE = "database"
    STORE = "store"
    SCORING = "scoring"


def find_faults(session: Session, storage: Storage, sandbox: Sandbox) -> dict[Part, Problem | None]:
    """Return for every part of a server what prevents it from being ready; None for a part that is ready."""
    return {
        Part.DATABASE: _fault_of_database(session),
        Part.STORE: _fault_of_store(storage),
        Part.SCORING: _fault_of_scoring(sandbox),
    }


def _fault_of_database(session: Session) -> Problem | None:
    try:
        session.execute(text("SELECT 1 FROM submission LIMIT 1"))
    except (OperationalError, ProgrammingError, NoConnectionError) as error:
        if isinstance(error, NoConnectionError) or is_away(error) or is_busy(error):
            return Problem(
                "internal.unready",
                "The database does not answer.",
                "The operator should check that it runs, and LDSBOARD_DATABASE_URL.",
            )
        return Problem(
            "internal.unready", "The database has no tables.", "The operator should run: python -m app migrate"
        )
    return None


def _fault_of_store(storage: Storage) -> Problem | None:
    if storage.is_ready():
        return None
    return Problem(
        "internal.unready", storage.unready, "The operator should check that it is there, and LDSBOARD_STORAGE_URL."
    )


def _fault_of_scoring(sandbox: Sandbox) -> Problem | None:
    if not sandbox.is_restarting:
        return None
    return Problem(
        "internal.unready",
        "No file can be scored: a scoring process or the fork server does not respond and is being replaced.",
        "Try again in 15 seconds; if the problem lasts longer, the operator should read the log of the server.",
    )
