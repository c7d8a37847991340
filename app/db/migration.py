"""Migration of a database to the newest schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

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
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
