"""Migration of a database to the newest schema, and which releases can use a schema.

A migration only expands the schema, so that servers of the previous release go on with it. A migration that contracts the schema
names, as `oldest_code`, the revision of the oldest release that no longer uses what goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"

VERSION_TABLE = "alembic_version"
"""Table in which Alembic keeps the revision of the schema."""

OLDEST = "oldest_code"
"""Column of `VERSION_TABLE`: the oldest revision whose code can use the schema. A release that does not know the revision of the
schema, because a later release has migrated the database, knows this revision if it can use the schema."""


class MigrationError(RuntimeError):
    """The database cannot be migrated, or not be used, by this release; it was not changed."""


def upgrade(url: str) -> str:
    """Apply all pending migrations to the database at `url`, or none of them if one fails; return its revision.

    A missing SQLite file is created. A database that a later release has migrated stays as it is.

    Raises
    ------
    MigrationError
        Rows of the migrated database refer to missing rows; servers or workers run that cannot use the new schema; or a later
        release has migrated the database to a schema that this release cannot use.
    """
    config = _config()
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
    return str(config.attributes["revision"])


def is_of_later_release(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Return whether a later release than that of `scripts` has migrated the database, to a schema that this one can use, too.

    Raises
    ------
    MigrationError
        This release cannot use the schema.
    """
    found, known = revision(connection), {script.revision for script in scripts.walk_revisions()}
    if found is None or found in known:
        return False
    if _has_oldest(connection) and _noted_oldest(connection) in known:
        return True
    raise MigrationError(
        f"The database has schema {found} of a later release, which this release cannot use. Start the later release, or restore "
        "a backup that was made before its migration (docs/how-to/operate.md)."
    )


def note_oldest(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """Note in the database which releases can use its schema; return the oldest revision whose code can.

    None means that the schema is from before migrations stated this.
    """
    found = revision(connection)
    if found is None:
        return None
    stated = (getattr(script.module, OLDEST, None) for script in scripts.walk_revisions(head=found))
    oldest = next(filter(None, stated), None)
    if not _has_oldest(connection):
        connection.execute(text(f"ALTER TABLE {VERSION_TABLE} ADD COLUMN {OLDEST} VARCHAR(32)"))
    if _noted_oldest(connection) != oldest:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET {OLDEST} = :oldest"), {"oldest": oldest})  # noqa: S608 -- fixed names
    return oldest


def _has_oldest(connection: Connection) -> bool:
    return OLDEST in {column["name"] for column in inspect(connection).get_columns(VERSION_TABLE)}


def _noted_oldest(connection: Connection) -> str | None:
    noted: str | None = connection.scalar(text(f"SELECT {OLDEST} FROM {VERSION_TABLE}"))  # noqa: S608 -- fixed names
    return noted


def is_own_table(name: str | None, kind: str = "table", _parents: object = None) -> bool:
    """Return whether a table is none of procrastinate's; Alembic asks for every name of any kind."""
    return kind != "table" or not str(name).startswith("procrastinate_")


def revision(connection: Connection) -> str | None:
    """Return the revision of the database's schema, or None if no migration was ever applied."""
    return MigrationContext.configure(connection).get_current_revision()


def revisions() -> list[str]:
    """Return all revisions that this release knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
