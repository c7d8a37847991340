"""Integrity checks of the database file: its structure, its foreign keys and its values.

SQLite stores no checksums of its pages, so a changed value that is still valid is not found.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import MetaData, select
from sqlalchemy.exc import DatabaseError

from app.database_url import database_url
from app.db.database_errors import is_damage
from app.db.sessions import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


def find_damage(url: str) -> list[str]:
    """Read the whole database at `url`; return a description of each fault that was found.

    The list is empty if the file is intact or does not exist. If SQLite finds damaged pages, foreign keys and values are not
    checked. If the database cannot be used for another reason, for instance because it is away, the error is raised.
    """
    parsed = database_url(url)
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and not Path(str(parsed.database)).exists():
        return []
    with closing(Database(url)) as database:
        try:
            with database.read() as session:
                connection = session.connection()
                if not is_file:  # PostgreSQL checks its pages and foreign keys itself
                    return list(_unreadable_values(connection))
                return _broken_pages(connection) or [*missing_references(connection), *_unreadable_values(connection)]
        except (DatabaseError, sqlite3.DatabaseError) as error:
            if not is_damage(error):
                raise
            return [f"The database cannot be read: {getattr(error, 'orig', error)}"]


def missing_references(connection: Connection) -> list[str]:
    """Return a description of each foreign key that refers to a row that does not exist."""
    violations = connection.exec_driver_sql("PRAGMA foreign_key_check")
    return [
        f"row {row} of table {table} refers to a missing row of table {other}" for table, row, other, _ in violations
    ]


def _broken_pages(connection: Connection) -> list[str]:
    """Return the faults that SQLite's integrity check finds, at most 100; the list is empty if there are none."""
    lines = [str(line) for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars()]
    return [] if lines == ["ok"] else lines


def _unreadable_values(connection: Connection) -> Iterator[str]:
    """Read every row; yield a message for each table with a value that its column type cannot read, such as invalid JSON."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        try:
            for _ in connection.execute(select(table), execution_options={"yield_per": 200}):
                pass
        except (TypeError, ValueError) as error:  # TypeError: a number for a time
            yield f"table {table.name} holds a value that cannot be read: {error}"
