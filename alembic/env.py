"""Run migrations on the database with the URL in the Alembic configuration."""

from __future__ import annotations

from alembic import context

from app.db.sessions import Database
from app.db.uploads import Upload


def run() -> None:
    """Run the migrations in one transaction."""
    url = context.config.get_main_option("sqlalchemy.url")
    database = Database(str(url))
    # `writer` takes the write lock at once, so that two commands on a new data folder migrate one after the other.
    with database.writer.connect() as connection:
        context.configure(connection=connection, target_metadata=Upload.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    database.close()


run()
