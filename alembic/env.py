"""How migrations reach the database: with the address that they were called with."""

from __future__ import annotations

from alembic import context

from app.db.sessions import Database
from app.db.uploads import Upload


def run() -> None:
    """Run the migrations in one transaction."""
    url = context.config.get_main_option("sqlalchemy.url")
    database = Database(str(url))
    # The write lock from the start: two commands on a new data folder wait for each other.
    with database.writer.connect() as connection:
        context.configure(connection=connection, target_metadata=Upload.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    database.close()


run()
