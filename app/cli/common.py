"""Functions shared by the operator's commands: opening the database and the port, and ending with an error."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.db.migration import upgrade
from app.db.sessions import Database
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


def open_database() -> tuple[Settings, Database]:
    """Return the settings and the database, after creating the data folder and migrating the database."""
    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # The database holds hidden results at full precision, so only the server's own user may read the folder.
    settings.data_dir.chmod(0o700)
    upgrade(settings.resolved_database_url)
    return settings, Database(settings.resolved_database_url)


@contextmanager
def write_session() -> Iterator[Session]:
    """Open a session for one transaction; on a ValueError, roll back and end the command with the error's message."""
    _, database = open_database()
    try:
        with database.write() as session:
            yield session
    except ValueError as error:
        raise fail(error) from None
    finally:
        database.close()


def fail(error: Exception) -> typer.Exit:
    """Print an error to standard error; return the exception that ends the command with exit code 2."""
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(2)


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port, before the server itself starts; port 0 selects a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Listen at once: another process can bind a port that is only bound. Early requests wait until the server starts.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise fail(
            RuntimeError(
                f"Cannot listen on {host}:{port}: {error}. Choose another port: --port 8001, or PORT=8001 with make."
            )
        ) from None
