"""Each migration only expands the schema, or names the oldest release that no longer uses what goes (decision 39)."""

from __future__ import annotations

from contextlib import closing
from shutil import copytree, ignore_patterns, rmtree
from textwrap import indent
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from app.db.migration import OLDEST, SCRIPTS, VERSION_TABLE, MigrationError, revisions, upgrade
from app.db.sessions import Database
from tests.app.schemas import contractions, read_schema

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database

SINCE = "0027"
"""All migrations after this revision keep the rule."""

HEAD = revisions()[0]
NEXT, LATER = (f"{int(HEAD) + step:04}" for step in (1, 2))

ADDED = "op.add_column('submission', sa.Column('extra', sa.Integer(), nullable={}, server_default={}))"

EXPANDING = {
    "nullable column": ADDED.format(True, None),
    "column with a default": ADDED.format(False, "'1'"),
    "column with a check": ADDED.format(False, "'1'")
    + "\nwith op.batch_alter_table('submission') as batch:\n    batch.create_check_constraint('extra', 'extra > 0')",
    "table": "op.create_table('extra', sa.Column('submission_id', sa.String(16), "
    "sa.ForeignKey('submission.id', ondelete='CASCADE'), primary_key=True))",
    "index": "op.create_index('ix_submission_title', 'submission', ['title'])",
    "unique new column": ADDED.format(True, None)
    + "\nop.create_index('ix_submission_extra', 'submission', ['user_id', 'extra'], unique=True)",
    "longer text": "with op.batch_alter_table('submission') as batch:\n"
    "    batch.alter_column('title', type_=sa.String(900))",
    "wider integer": "with op.batch_alter_table('evaluation') as batch:\n"
    "    batch.alter_column('percent', type_=sa.BigInteger())",
}

CONTRACTING = {
    "column evaluation.percent is dropped": "op.drop_column('evaluation', 'percent')",
    "column evaluation.percent is dropped ": "op.alter_column('evaluation', 'percent', new_column_name='share')",
    "table review_link is dropped": "op.drop_table('review_link')",
    "table review_link is dropped ": "op.rename_table('review_link', 'link')",
    "column submission.extra is NOT NULL and has no server default": "op.execute('DELETE FROM submission')\n"
    "with op.batch_alter_table('submission') as batch:\n"
    "    batch.add_column(sa.Column('extra', sa.Integer(), nullable=False))",
    "column evaluation.percent refuses NULL": "with op.batch_alter_table('evaluation') as batch:\n"
    "    batch.alter_column('percent', nullable=False)",
    "column submission.title takes NULL": "with op.batch_alter_table('submission') as batch:\n"
    "    batch.alter_column('title', nullable=True)",
    "column submission.title changes from": "with op.batch_alter_table('submission') as batch:\n"
    "    batch.alter_column('title', type_=sa.String(10))",
    "column evaluation.percent changes from": "with op.batch_alter_table('evaluation') as batch:\n"
    "    batch.alter_column('percent', type_=sa.SmallInteger())",
    "column evaluation.claims loses its server default": "with op.batch_alter_table('evaluation') as batch:\n"
    "    batch.alter_column('claims', server_default=None)",
    "table submission gets: unique": "op.create_index('ix_submission_title', 'submission', ['title'], unique=True)",
    "table submission gets: unique ": ADDED.format(False, "'1'")
    + "\nop.create_index('ix_submission_extra', 'submission', ['user_id', 'extra'], unique=True)",
    "table submission loses: unique": "op.drop_index('ix_submission_pinned', 'submission')",
    "table submission gets: check": "with op.batch_alter_table('submission') as batch:\n"
    "    batch.create_check_constraint('title', \"title <> ''\")",
    "table audit loses: trigger": "op.execute('DROP TRIGGER audit_refuses_delete' + "
    "(' ON audit' if op.get_bind().dialect.name == 'postgresql' else ''))",
    "so that the rows of submission cannot be deleted": "op.create_table('extra', "
    "sa.Column('submission_id', sa.String(16), sa.ForeignKey('submission.id'), primary_key=True))",
}
"""Migrations by what is reported of them."""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the folder of migrations."""
    return copytree(SCRIPTS, tmp_path / "scripts", ignore=ignore_patterns("__pycache__"))


@pytest.fixture
def url(database: Database) -> str:
    """The address of a migrated database."""
    return database.engine.url.render_as_string(hide_password=False)


def _write(scripts: Path, revision: str, before: str, body: str = "pass", oldest: str | None = None) -> None:
    """Write a migration into a folder of migrations."""
    head = f"import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = {revision!r}, {before!r}\n"
    stated = f"{OLDEST} = {oldest!r}\n" if oldest else ""
    rmtree(scripts / "versions/__pycache__", ignore_errors=True)  # valid for any source of that size and second
    (scripts / f"versions/{revision}_test.py").write_text(f"{head}{stated}def upgrade():\n{indent(body, '    ')}\n")


def _migrate(scripts: Path, url: str, revision: str, *, down: bool = False) -> None:
    """Migrate a database with the migrations in a folder, as the release with these migrations does."""
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    (command.downgrade if down else command.upgrade)(config, revision)


def _find_faults(scripts: Path, url: str) -> list[str]:
    """Migrate a database step by step; return which of the migrations in a folder break earlier releases, and how."""
    later = [script for script in ScriptDirectory(str(scripts)).walk_revisions() if script.revision > SINCE]
    _migrate(scripts, url, SINCE)
    faults = []
    with closing(Database(url)) as database:
        for script in later[::-1]:
            with database.engine.connect() as connection:
                before = read_schema(connection)
            _migrate(scripts, url, script.revision)
            with database.engine.connect() as connection:
                found = contractions(before, read_schema(connection))
            oldest = getattr(script.module, OLDEST, None)
            if oldest is None:
                faults += [f"{script.revision}: {fault}" for fault in found]
            elif not SINCE <= oldest < script.revision:
                faults.append(f"{script.revision}: {OLDEST} must be an earlier revision, and not before {SINCE}")
    return faults


def _noted(url: str) -> tuple[str | None, str | None]:
    """Return the revision of a database, and the oldest revision whose code can use it."""
    with closing(Database(url)) as database, database.engine.connect() as connection:
        row = connection.execute(text(f"SELECT version_num, {OLDEST} FROM {VERSION_TABLE}")).one_or_none()  # noqa: S608 -- fixed names
    return (None, None) if row is None else (row[0], row[1])


def test_migrations_only_expand_the_schema(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if backend == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    else:
        url = request.getfixturevalue("cluster").create("template0")
    assert _find_faults(SCRIPTS, url) == []


@pytest.mark.parametrize("name", EXPANDING)
def test_expanding_migration_is_allowed(name: str, scripts: Path, url: str) -> None:
    _write(scripts, NEXT, HEAD, EXPANDING[name])
    assert _find_faults(scripts, url) == []
    assert _noted(url)[0] == NEXT


@pytest.mark.parametrize("fault", CONTRACTING)
def test_contracting_migration_is_found(fault: str, scripts: Path, url: str) -> None:
    _write(scripts, NEXT, HEAD, CONTRACTING[fault])
    found = _find_faults(scripts, url)
    assert any(fault.strip() in each for each in found), found


def test_contracting_migration_names_an_earlier_release(scripts: Path, url: str) -> None:
    dropping = "op.drop_column('evaluation', 'percent')"
    _write(scripts, NEXT, HEAD, dropping, oldest=NEXT)
    assert len(_find_faults(scripts, url)) == 1
    _write(scripts, LATER, NEXT, "op.drop_column('evaluation', 'job')", oldest=HEAD)
    _write(scripts, NEXT, HEAD, dropping, oldest=HEAD)
    assert _find_faults(scripts, url) == []


def test_release_uses_a_schema_that_later_releases_have_expanded(scripts: Path, url: str) -> None:
    _write(scripts, NEXT, HEAD, EXPANDING["column with a default"])
    _write(scripts, LATER, NEXT, EXPANDING["index"])
    _migrate(scripts, url, "head")
    for _ in range(2):
        assert upgrade(url) == LATER
        assert _noted(url) == (LATER, SINCE)


def test_release_refuses_a_schema_that_its_code_cannot_use(scripts: Path, url: str) -> None:
    _write(scripts, NEXT, HEAD, EXPANDING["column with a default"])
    _write(scripts, LATER, NEXT, "op.drop_column('evaluation', 'percent')", oldest=NEXT)
    _migrate(scripts, url, "head")
    with pytest.raises(MigrationError, match=f"schema {LATER} of a later release, which this release cannot use"):
        upgrade(url)
    assert _noted(url) == (LATER, NEXT)
    (scripts / f"versions/{LATER}_test.py").unlink()
    _migrate(scripts, url, "head")  # the release in between
    assert _noted(url) == (LATER, NEXT)


def test_release_refuses_a_schema_that_states_no_oldest_code(database: Database, url: str) -> None:
    for statement in (
        f"UPDATE {VERSION_TABLE} SET version_num = '9999', {OLDEST} = NULL",  # noqa: S608 -- fixed names
        f"ALTER TABLE {VERSION_TABLE} DROP COLUMN {OLDEST}",
    ):
        with database.writer.begin() as connection:
            connection.execute(text(statement))
        with pytest.raises(MigrationError, match="schema 9999 of a later release"):
            upgrade(url)


def test_oldest_code_is_that_of_the_present_schema(scripts: Path, url: str) -> None:
    _write(scripts, NEXT, HEAD, oldest=HEAD)
    with (scripts / f"versions/{NEXT}_test.py").open("a") as migration:
        migration.write("def downgrade():\n    pass\n")
    seen = []
    for revision, down in ((HEAD, False), (NEXT, False), (HEAD, True), ("0026", True), ("base", True), (HEAD, False)):
        _migrate(scripts, url, revision, down=down)
        seen.append(_noted(url))
    assert seen == [(HEAD, SINCE), (NEXT, HEAD), (HEAD, SINCE), ("0026", None), (None, None), (HEAD, SINCE)]
