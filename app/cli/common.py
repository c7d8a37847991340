"""What every command of the operator begins with and how it fails."""

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
    """Return the settings and the database, which is there and of the newest schema."""
    settings = Settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # The database holds what the pages round or hide: nobody but the server's own user may look.
    settings.data_dir.chmod(0o700)
    upgrade(settings.resolved_database_url)
    return settings, Database(settings.resolved_database_url)


@contextmanager
def writing() -> Iterator[Session]:
    """Run one transaction; a ValueError ends the command with its message and changes nothing."""
    _, database = open_database()
    try:
        with database.write() as session:
            yield session
    except ValueError as error:
        raise fail(error) from None
    finally:
        database.close()


def fail(error: Exception) -> typer.Exit:
    """Say on standard error what was wrong; return what ends the command."""
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(2)


def listen(host: str, port: int) -> socket.socket:
    """Take a port before anything else is begun; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # It listens from now on, since a port that is only bound may be bound by others too; early requests wait for the start.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise fail(
            RuntimeError(f"expected a free port, got {host}:{port}: {error}. Choose another: PORT=8001")
        ) from None
