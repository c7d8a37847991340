"""Migrations keep the rows of a filled database, in both directions.

``migrations/NNNN.sql`` holds rows for every table of revision NNNN, written by the models of that time. A new migration needs a
new file: the rows of the previous file, with values for the new tables and columns.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from typer.testing import CliRunner

from app.__main__ import cli
from app.db.base import Base
from app.db.migration import SCRIPTS, MigrationError, upgrade

ROWS = Path(__file__).parent / "migrations"

REVISIONS = [script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()][::-1]
HEAD = REVISIONS[-1]

RECENT = REVISIONS[-3:]
"""The newest revisions; tests of older revisions are slow tests, because together they take half a minute."""

PIN_REVISION = "0008"
"""The downgrade of this revision removes all pins, because an earlier schema allows fewer pins."""

FAMILY_REVISION, REPLICATES_REVISION = "0019", "0020"
"""These revisions rank all boards again, in both directions, and therefore raise the revisions of the boards."""

BOARD_REVISION = ("version", "board_revision")

Table = dict[str, list[str]]
"""The values of each column, in the order of the rows' ids, as SQL literals."""


def migrate(url: str, revision: str, *, down: bool = False) -> None:
    """Migrate a database to a revision."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    (command.downgrade if down else command.upgrade)(config, revision)


class FilledDatabase:
    """A database file, migrated to a revision and filled with the rows of that revision."""

    def __init__(self, path: Path, revision: str) -> None:
        self.path, self.url = path, f"sqlite:///{path}"
        self.migrate(revision)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript((ROWS / f"{revision}.sql").read_text(encoding="utf-8"))

    def migrate(self, revision: str, *, down: bool = False) -> None:
        migrate(self.url, revision, down=down)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement without foreign keys; return its rows."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()

    def tables(self) -> dict[str, Table]:
        """Return the columns of all tables."""
        names = [str(name) for (name,) in self.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self._columns(name) for name in names if name != "alembic_version"}

    def _columns(self, table: str) -> Table:
        names = [str(row[1]) for row in self.execute(f'PRAGMA table_info("{table}")')]
        quoted = ", ".join(f'quote("{name}")' for name in names)
        rows = self.execute(f'SELECT {quoted} FROM "{table}" ORDER BY rowid')  # noqa: S608 -- names of the schema
        return {name: [str(row[index]) for row in rows] for index, name in enumerate(names)}

    def revision(self) -> str:
        """Return the revision of the database, or an empty string without one."""
        return "".join(str(row[0]) for row in self.execute("SELECT version_num FROM alembic_version"))

    def assert_sound(self) -> None:
        assert self.execute("PRAGMA foreign_key_check") == []
        assert self.execute("PRAGMA integrity_check") == [("ok",)]


def _common(first: dict[str, Table], second: dict[str, Table], *without: tuple[str, str]) -> dict[str, Table]:
    """Return the tables and columns of `first` that `second` has too."""
    return {
        table: {
            name: values for name, values in columns.items() if name in second[table] and (table, name) not in without
        }
        for table, columns in first.items()
        if table in second
    }


def _assert_rows_kept(before: dict[str, Table], after: dict[str, Table], *without: tuple[str, str]) -> None:
    assert _common(after, before, *without) == _common(before, after, *without)


def _marked(revisions: list[str]) -> list[Any]:
    """Return revisions as parameters of tests, the older ones marked as slow."""
    return [pytest.param(name, marks=() if name in RECENT else pytest.mark.slow) for name in revisions]


@pytest.fixture
def filled(tmp_path: Path, revision: str) -> FilledDatabase:
    return FilledDatabase(tmp_path / "filled.sqlite3", revision)


@pytest.mark.parametrize("revision", _marked(REVISIONS))
def test_file_of_a_revision_fills_every_table_and_column(filled: FilledDatabase, revision: str) -> None:
    assert filled.revision() == revision
    for table, columns in filled.tables().items():
        for column, values in columns.items():
            assert Counter(values).keys() - {"NULL"}, f"{ROWS / revision}.sql has no value for {table}.{column}"
    filled.assert_sound()


@pytest.mark.parametrize("revision", _marked(REVISIONS[:-1]))
def test_rows_survive_a_step_up(filled: FilledDatabase, revision: str) -> None:
    before = filled.tables()
    filled.migrate("+1")
    assert filled.revision() == REVISIONS[REVISIONS.index(revision) + 1]
    after = filled.tables()
    assert after.keys() >= before.keys()
    _assert_rows_kept(
        before, after, *([BOARD_REVISION] if filled.revision() in (FAMILY_REVISION, REPLICATES_REVISION) else [])
    )
    filled.assert_sound()


@pytest.mark.parametrize("revision", _marked(REVISIONS[1:]))
def test_rows_survive_a_step_down(filled: FilledDatabase, revision: str) -> None:
    before = filled.tables()
    filled.migrate("-1", down=True)
    assert filled.revision() == REVISIONS[REVISIONS.index(revision) - 1]
    changed = {PIN_REVISION: [("submission", "pinned")], "0015": [("token", "expires_at")]}  # tokens of CI runs end
    changed[FAMILY_REVISION] = changed[REPLICATES_REVISION] = [BOARD_REVISION]
    _assert_rows_kept(before, filled.tables(), *changed.get(revision, []))
    filled.assert_sound()


@pytest.mark.parametrize("revision", _marked(REVISIONS))
def test_rows_survive_the_way_to_the_newest_schema_and_back(filled: FilledDatabase, revision: str) -> None:
    before = filled.tables()
    upgrade(filled.url)
    newest = filled.tables()
    assert newest.keys() == Base.metadata.tables.keys()
    _assert_rows_kept(before, newest, BOARD_REVISION)
    filled.assert_sound()
    engine = create_engine(filled.url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    if revision == HEAD:
        return
    filled.migrate(revision, down=True)
    after = filled.tables()
    assert {table: columns.keys() for table, columns in after.items()} == {
        table: columns.keys() for table, columns in before.items()
    }
    pins = [("submission", "pinned")] if revision < PIN_REVISION else []
    _assert_rows_kept(before, after, *pins, BOARD_REVISION)
    filled.assert_sound()


@pytest.mark.parametrize("revision", [REVISIONS[0], HEAD])
def test_filled_database_can_be_emptied(filled: FilledDatabase) -> None:
    filled.migrate("base", down=True)
    assert (filled.revision(), filled.tables()) == ("", {})


@pytest.mark.parametrize("revision", ["0018", "0019"])
def test_boards_are_ranked_again_after_a_migration_that_changes_their_ranks(
    filled: FilledDatabase, revision: str
) -> None:
    outdated = "SELECT count(*) FROM version WHERE ranked_revision < board_revision"
    assert filled.execute(outdated) == [(0,)]
    filled.migrate({"0018": FAMILY_REVISION, "0019": REPLICATES_REVISION}[revision])
    assert filled.execute(outdated) == filled.execute("SELECT count(*) FROM version") != [(0,)]


@pytest.mark.parametrize("revision", ["0019"])
def test_rerun_key_is_made_of_the_earliest_provenance(filled: FilledDatabase) -> None:
    columns = '"submission_id", "commit", "at", "verified"'
    for submission, commits in (("a2", ("cafe001", "cafe002")), ("a3", ("NULL", "cafe003"))):
        for commit in commits:
            value = commit if commit == "NULL" else f"'{commit}'"
            row = f"'00000000000000{submission}', {value}, '2026-11-24 09:53:00.000000', 0"
            filled.execute(f'INSERT INTO "provenance" ({columns}) VALUES ({row})')  # noqa: S608 -- literals
    filled.migrate(REPLICATES_REVISION)
    keys = {name: key for name, key in filled.execute("SELECT id, rerun_key FROM submission") if key is not None}
    commits_of = {"a1": "0123456789abcdef0123456789abcdef01234567", "a2": "cafe001"}
    assert keys == {f"00000000000000{name}": sha256(f"1\0{of}".encode()).hexdigest() for name, of in commits_of.items()}


@pytest.mark.parametrize("revision", ["0013"])
def test_suspended_submission_becomes_private_in_the_schema_without_suspensions(filled: FilledDatabase) -> None:
    chosen = "WHERE id = '00000000000000a1'"
    filled.execute(f"UPDATE submission SET suspension = '{{}}' {chosen}")  # noqa: S608 -- a literal
    filled.migrate("0012", down=True)
    assert filled.execute(f"SELECT visibility, pinned FROM submission {chosen}") == [("private", 0)]  # noqa: S608 -- a literal


@pytest.mark.parametrize("revision", ["0025"])
def test_of_two_pins_that_of_the_declared_file_goes(filled: FilledDatabase) -> None:
    # The schema before allows one pin for each method and visibility.
    filled.execute(
        "UPDATE submission SET uses_subsets = 1, pinned = 1 WHERE id IN ('00000000000000a8', '00000000000000a6')"
    )
    filled.migrate("0024", down=True)
    pinned = filled.execute("SELECT id FROM submission WHERE pinned AND visibility = 'public' ORDER BY id")
    assert pinned == [("00000000000000a1",), ("00000000000000a6",)]


DANGLING = "UPDATE token SET user_id = 99 WHERE id = 3"
MESSAGE = "row 3 of table token refers to a missing row of table user"


@pytest.mark.parametrize("revision", ["0002"])
def test_migration_that_breaks_a_foreign_key_changes_nothing(filled: FilledDatabase, revision: str) -> None:
    filled.execute(DANGLING)
    before = filled.tables()
    with pytest.raises(MigrationError, match=MESSAGE):
        upgrade(filled.url)
    assert (filled.revision(), filled.tables()) == (revision, before)


@pytest.mark.parametrize("revision", [HEAD])
def test_broken_foreign_key_does_not_stop_a_command_without_a_migration(filled: FilledDatabase, revision: str) -> None:
    filled.execute(DANGLING)
    upgrade(filled.url)
    assert filled.revision() == revision


@pytest.mark.parametrize("revision", ["0009"])
def test_command_prints_why_a_migration_was_rejected(filled: FilledDatabase, revision: str, tmp_path: Path) -> None:
    filled.execute(DANGLING)
    settings = {"LDSBOARD_DATA_DIR": str(tmp_path / "data"), "LDSBOARD_DATABASE_URL": filled.url}
    result = CliRunner().invoke(cli, ["migrate"], env=settings, catch_exceptions=False)
    assert (result.exit_code, filled.revision()) == (2, revision)
    assert MESSAGE in result.stderr
    assert "python -m app migrate" in result.stderr
