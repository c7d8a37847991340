"""What a failed statement says about the database: that its disk is full, or that it is busy or away."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from sqlalchemy.exc import OperationalError

DISK_FULL, LOCK_NOT_AVAILABLE, TOO_MANY_CONNECTIONS, SHUTTING_DOWN = "53100", "55P03", "53300", "57P0"
"""Error codes of PostgreSQL, the last one the beginning of several: https://www.postgresql.org/docs/15/errcodes-appendix.html."""


def is_full(error: OperationalError) -> bool:
    """Return whether a statement failed because the disk of the database is full."""
    return _sqlite_code(error) == sqlite3.SQLITE_FULL or _state(error) == DISK_FULL


def is_busy(error: OperationalError) -> bool:
    """Return whether a statement failed because another process held the write lock for too long, or PostgreSQL is away."""
    state = _state(error)
    is_away = isinstance(error.orig, psycopg.OperationalError) and (
        state is None or state == TOO_MANY_CONNECTIONS or state.startswith(SHUTTING_DOWN)
    )
    return is_away or _sqlite_code(error) == sqlite3.SQLITE_BUSY or state == LOCK_NOT_AVAILABLE


def _state(error: OperationalError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _sqlite_code(error: OperationalError) -> int:
    # The lower byte is the error; the upper bytes distinguish its cases.
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
