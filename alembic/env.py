"""Run migrations on the database with the URL in the Alembic configuration."""

from __future__ import annotations

from contextlib import closing

from alembic import context

from app.db import counterfactuals, review_links, uploads, webhooks  # noqa: F401 -- these modules define tables
from app.db.base import Base
from app.db.integrity import missing_references
from app.db.migration import MigrationError, is_of_later_release, is_own_table, note_oldest, revision
from app.db.presence import check_running
from app.db.sessions import Database


def run() -> None:
    """Run the migrations in one transaction, and check the foreign keys at its end instead of after each statement."""
    url = context.config.get_main_option("sqlalchemy.url")
    # `writer` takes the write lock at once, so that two commands on a new data folder migrate one after the other.
    with closing(Database(str(url))) as database, database.writer.connect() as connection:
        # A migration that changes a column replaces the table, and rows of other tables refer to the old one. SQLite ignores
        # this statement within a transaction, so it goes to the driver, which begins none.
        if problem := database.unfit(connection):
            raise MigrationError(problem)
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
        with connection.begin():
            context.configure(
                connection=connection, target_metadata=Base.metadata, render_as_batch=True, include_name=is_own_table
            )
            before = context.get_context().get_current_heads()
            if not is_of_later_release(connection, context.script):
                with context.begin_transaction():
                    context.run_migrations()
                check_running(connection, note_oldest(connection, context.script))
            context.config.attributes["revision"] = revision(connection)
            migrated = context.get_context().get_current_heads() != before
            if is_sqlite and migrated and (missing := missing_references(connection)):
                raise MigrationError(
                    f"The database cannot be migrated, because rows are missing ({len(missing)} in total): {missing[0]}. "
                    "The database was not changed. Restore a backup of the database, or delete the rows that "
                    "PRAGMA foreign_key_check lists; then run: python -m app migrate"
                )


run()
