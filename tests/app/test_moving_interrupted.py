"""A killed move leaves the target empty; and what the target changes, or another process writes meanwhile, is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.accounts import users
from app.db import copying
from app.db.database_errors import is_busy
from app.db.migration import upgrade
from app.db.sessions import Database
from app.management import consistency
from app.management.consistency import Finding
from tests.app.moving import dump, fill, is_empty, move, moved
from tests.app.service import ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

    from tests.app.benchmarks import Example
    from tests.app.test_filled_migrations import FilledDatabase
    from tests.postgresql import Cluster


@pytest.fixture
def filled(tmp_path: Path, toy: Example) -> FilledDatabase:
    """A database with rows in every table and values in every column."""
    return fill(tmp_path, toy)


@pytest.fixture(params=["postgresql", "sqlite"])
def source_and_target(
    request: pytest.FixtureRequest, filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> tuple[str, str]:
    """The addresses of a filled database and of an empty, migrated one; the parameter is the kind of the empty one."""
    if request.param == "postgresql":
        return filled.url, cluster.create()
    moved(tmp_path, filled.url, source := cluster.create())
    upgrade(target := f"sqlite:///{tmp_path / 'new.sqlite3'}")
    return source, target


KILLED = """
import os, signal
from sqlalchemy import Engine, event

left = int(os.environ["INSERTS"])

@event.listens_for(Engine, "before_cursor_execute")
def count(connection, cursor, statement, *rest):
    global left
    left -= statement.startswith("INSERT INTO") and "alembic_version" not in statement
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def commit(connection):
    if os.environ["INSERTS"] == "-1" and left < -1:
        os.kill(os.getpid(), signal.SIGKILL)

from app.__main__ import main
main()
"""
"""Runs a command, and kills it at an INSERT, or with -1 before it commits."""


@pytest.mark.parametrize("inserts", [1, 12, -1])
def test_killed_move_leaves_an_empty_target_and_the_source(
    inserts: int, source_and_target: tuple[str, str], tmp_path: Path
) -> None:
    source, target = source_and_target
    before = dump(source)
    settings = {"LDSBOARD_DATA_DIR": str(tmp_path / "data"), "LDSBOARD_DATABASE_URL": source, "INSERTS": str(inserts)}
    command = [sys.executable, "-c", KILLED, "move", "--database", target]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout == ""
    assert is_empty(target)
    assert dump(source) == before
    with closing(Database(next(url for url in (source, target) if url.startswith("postgresql")))) as database:
        here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        held = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND {here}"  # noqa: S608 -- a literal
        with database.engine.connect() as connection:
            until(lambda: connection.exec_driver_sql(held).first() is None, "no connection of the killed process")
    moved(tmp_path, source, target)
    assert dump(target) == before


def test_nobody_writes_to_the_source_meanwhile(
    source_and_target: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = source_and_target
    copy_rows, refused = copying.copy_rows, []

    def write_first(*connections: Connection, **options: Any) -> dict[str, int]:
        with closing(Database(source, busy_seconds=0.05)) as other:
            with pytest.raises(OperationalError) as late, other.write() as session:
                users.add_user(session, "late")
            refused.append(is_busy(late.value))
        return copy_rows(*connections, **options)

    monkeypatch.setattr(copying, "copy_rows", write_first)
    moved(tmp_path, source, target)
    assert refused == [True]
    assert dump(target) == dump(source)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "NEW.name = upper(NEW.name); RETURN NEW;",
            "Table token: 4 rows were read and 4 rows arrived, with other values",
        ),
        ("RETURN CASE WHEN NEW.id <> 1 THEN NEW END;", "Table token: 4 rows were read and 3 rows arrived"),
    ],
)
def test_rows_that_the_target_changes_are_noticed(
    body: str, found: str, filled: FilledDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    with closing(Database(target := cluster.create())) as database, database.write() as session:
        function = f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        session.execute(text(function))
        session.execute(text("CREATE TRIGGER meddle BEFORE INSERT ON token FOR EACH ROW EXECUTE FUNCTION meddle()"))
    done = move(tmp_path, filled.url, target)
    assert (done.exit_code, done.stdout) == (2, "")
    assert found in done.stderr
    assert is_empty(target)


def test_target_that_does_not_agree_with_the_files_is_not_saved(
    filled: FilledDatabase, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect(session: Session, *_: Any, **__: Any) -> Iterator[Finding]:
        yield Finding("the same")
        if session.get_bind().dialect.name == "postgresql":
            yield Finding("another")

    monkeypatch.setattr(consistency, "inspect", inspect)
    done = move(tmp_path, filled.url, target := cluster.create())
    assert (done.exit_code, "does not agree with the files: another." in done.stderr) == (2, True)
    assert is_empty(target)
