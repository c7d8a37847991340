"""Run the command that moves the database, and read all rows of a database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import JSON, Text, cast, select
from typer.testing import CliRunner

from app.__main__ import cli
from app.db.base import Base
from app.db.sessions import Database
from tests.app.test_filled_migrations import HEAD, FilledDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.app.benchmarks import Example


def fill(folder: Path, example: Example) -> FilledDatabase:
    """Fill every table and column of a database in the data folder; the files of its benchmarks are missing."""
    (folder / "data").mkdir()
    found = FilledDatabase(folder / "data/ldsboard.sqlite3", HEAD)
    manifest = (example.folder / "public/benchmark.json").read_text(encoding="utf-8")
    found.execute(f"UPDATE version SET manifest = '{manifest}'")  # noqa: S608 -- a file of the tests
    return found


def move(folder: Path, source: str, target: str, *options: str) -> Result:
    """Run the command with a data folder within `folder`, and the address of its database."""
    environment = {"LDSBOARD_DATA_DIR": str(folder / "data"), "LDSBOARD_DATABASE_URL": source}
    return CliRunner().invoke(cli, ["move", "--database", target, *options], env=environment, catch_exceptions=False)


def moved(folder: Path, source: str, target: str, *options: str) -> str:
    """Run the command, which must succeed, and return what it prints."""
    done = move(folder, source, target, *options)
    assert done.exit_code == 0, done.output
    return done.output


def dump(url: str) -> dict[str, list[str]]:
    """Return the rows of each table, sorted, JSON as the stored text."""
    with closing(Database(url)) as database, database.read() as session:
        return {
            name: sorted(
                repr(tuple(row))
                for row in session.execute(
                    select(*(cast(c, Text) if isinstance(c.type, JSON) else c for c in table.columns))
                )
            )
            for name, table in Base.metadata.tables.items()
        }


def literals(filled: FilledDatabase) -> dict[str, list[tuple[str, ...]]]:
    """Return the rows of each table of an SQLite file, sorted, as SQL literals."""
    return {name: sorted(zip(*columns.values(), strict=True)) for name, columns in filled.tables().items()}


def opened(path: Path) -> FilledDatabase:
    """Return an existing SQLite file."""
    found = FilledDatabase.__new__(FilledDatabase)
    found.path, found.url = path, f"sqlite:///{path}"
    return found


def is_empty(url: str) -> bool:
    """Return whether no table holds rows."""
    return not any(dump(url).values())
