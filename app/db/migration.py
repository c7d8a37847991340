"""Migration of a database to the newest schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"


class MigrationError(RuntimeError):
    """A migration would leave rows that refer to missing rows; the database was not changed."""


def upgrade(url: str) -> None:
    """Apply all pending migrations to the database at `url`, or none of them if one fails. A missing SQLite file is created.

    Raises
    ------
    MigrationError
        Rows of the migrated database refer to missing rows.
    """
    config = _config()
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


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
