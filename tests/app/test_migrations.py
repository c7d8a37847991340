"""Migrations create exactly the tables of the models, and can be reverted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, create_engine, inspect

from app.db.base import Base
from app.db.migration import SCRIPTS, upgrade
from app.db.sessions import Database

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'odd name 100%.sqlite3'}"


def _differences(url: str) -> list[object]:
    engine = create_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    return list(differences)


def _checks(url: str) -> dict[str, set[tuple[str | None, str]]]:
    engine = create_engine(url)
    inspector = inspect(engine)
    checks = {
        table: {(check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)}
        for table in Base.metadata.tables
    }
    engine.dispose()
    return checks


def test_upgraded_database_matches_the_models(url: str) -> None:
    upgrade(url)
    assert _differences(url) == []
    assert _checks(url) == {
        name: {
            (str(check.name), str(check.sqltext)) for check in table.constraints if isinstance(check, CheckConstraint)
        }
        for name, table in Base.metadata.tables.items()
    }


def test_database_can_be_downgraded_and_upgraded_again(url: str) -> None:
    upgrade(url)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.downgrade(config, "base")
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
    upgrade(url)
    upgrade(url)
    assert _differences(url) == []


def test_database_uses_wal_foreign_keys_timeout_and_full_sync(url: str) -> None:
    upgrade(url)
    database = Database(url)
    with database.read() as session:
        settings = [
            session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        ]
    database.close()
    assert settings == ["wal", 1, 30000, 2]
