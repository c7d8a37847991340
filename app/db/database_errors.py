"""What a failed statement says about the database: that its disk is full, or that it is busy, away or damaged."""

from __future__ import annotations

import sqlite3

import psycopg

DISK_FULL, LOCK_NOT_AVAILABLE, TOO_MANY_CONNECTIONS, SHUTTING_DOWN = "53100", "55P03", "53300", "57P0"
"""Error codes of PostgreSQL, the last one the beginning of several: https://www.postgresql.org/docs/15/errcodes-appendix.html."""


DAMAGED = ("22", "58", "XX")
"""Beginnings of PostgreSQL's codes for values that cannot be read, errors of the disk, and damaged tables."""


def is_full(error: Exception) -> bool:
    """Return whether a statement failed because the disk of the database is full."""
    return _sqlite_code(error) == sqlite3.SQLITE_FULL or _state(error) == DISK_FULL


def is_busy(error: Exception) -> bool:
    """Return whether a statement failed because another process held the write lock for too long."""
    return _sqlite_code(error) == sqlite3.SQLITE_BUSY or _state(error) == LOCK_NOT_AVAILABLE


def is_away(error: Exception) -> bool:
    """Return whether a statement failed because PostgreSQL does not answer, or refuses connections."""
    state = _state(error)
    return isinstance(_cause(error), psycopg.OperationalError) and (
        state is None or state == TOO_MANY_CONNECTIONS or state.startswith(SHUTTING_DOWN)
    )


def is_damage(error: Exception) -> bool:
    """Return whether a statement that only reads failed because the database is damaged."""
    if isinstance(_cause(error), psycopg.Error):
        return str(_state(error)).startswith(DAMAGED)
    return not is_busy(error)


def _cause(error: Exception) -> object:
    """Return the error of the driver, which SQLAlchemy may have wrapped."""
    return getattr(error, "orig", error)


def _state(error: Exception) -> str | None:
    return getattr(_cause(error), "sqlstate", None)


def _sqlite_code(error: Exception) -> int:
    # The lower byte is the error; the upper bytes distinguish its cases.
    return int(getattr(_cause(error), "sqlite_errorcode", 0)) & 0xFF
