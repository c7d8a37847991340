"""Functions that the operator's commands share: open the database, listen on a port, and end with an error message."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from app.database_url import database_url
from app.db.migration import MigrationError, revisions, upgrade
from app.db.sessions import Database
from app.errors import OtherFolderError
from app.leaderboard.ranking import Ranker
from app.management.installation import NoInstallationError, check_data_folder, check_installation, shown
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


LONGEST_MESSAGE = 1900
"""Largest number of characters of a message that are printed. A message can quote names and words of any length from a file."""


def read_settings(*, serving: bool) -> Settings:
    """Return the settings. If they are for a server or worker (`serving`) that cannot use them, print why, and end."""
    settings = Settings()
    try:
        if serving:
            settings.check_serving()
    except ValueError as error:
        raise fail(error) from None
    return settings


def migrate_database(settings: Settings, *, creates: bool) -> None:
    """Migrate the database to the newest schema.

    If a later release has migrated the database, and this one can use it, the command goes on after a note. If the migration
    fails, the command prints the error and ends.

    Parameters
    ----------
    creates
        Whether a missing installation is created; only the server's own user can read its folder. Otherwise the command prints
        what is missing and ends, so that a misspelt setting does not look like an empty installation.
    """
    try:
        check_data_folder(settings)
        if creates:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
            # The database holds hidden results at full precision, so only the server's own user may read the folder.
            settings.data_dir.chmod(0o700)
        else:
            check_installation(settings)
        found = upgrade(settings.resolved_database_url)
    except (MigrationError, NoInstallationError, OtherFolderError) as error:
        raise fail(error) from None
    if found not in revisions():
        typer.echo(f"Note: The database has schema {found} of a later release, which this release can use.", err=True)


@contextmanager
def open_database(
    *expected: type[Exception], creates: bool = False, serving: bool = False
) -> Iterator[tuple[Settings, Database]]:
    """Migrate the database, then yield the settings and the database.

    `creates` is that of `migrate_database`, and `serving` that of `read_settings` and of `Database`.

    An exception of an `expected` type that is raised in the ``with`` block is printed, and ends the command with exit code 2.
    """
    settings = read_settings(serving=serving)
    migrate_database(settings, creates=creates)
    database = Database(settings.resolved_database_url, tickets=settings.workers_score, serving=serving)
    try:
        yield settings, database
    except (typer.Abort, typer.Exit):  # both are of the type RuntimeError
        raise
    except expected as error:
        raise fail(error) from None
    finally:
        database.close()


@contextmanager
def write_session() -> Iterator[Session]:
    """Yield a session for one transaction; after the commit, rank the boards that the transaction changed.

    On a ValueError, the transaction is rolled back, and the command prints the error and ends.
    """
    with open_database(ValueError) as (_, database):
        with database.write() as session:
            yield session
        Ranker(database).renew_all()


def invalid_settings(error: ValidationError) -> str:
    """Return which settings are invalid and why, without pydantic's own layout; values are not repeated."""
    lines = []
    for each in error.errors(include_url=False, include_input=False):
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, ValidationError):  # of a type within a check of a setting
            message = cause.errors(include_url=False, include_input=False)[0]["msg"]
        else:
            message = str(cause or each["msg"])
        for field in each["loc"][:1]:
            name = str(field) if str(field).isupper() else f"LDSBOARD_{str(field).upper()}"
            message = message if name in message else f"{name}: {message[:1].lower()}{message[1:]}"
        lines.append(message)
    return "\n  ".join(lines)


def print_places(settings: Settings) -> None:
    """Print to standard error which installation a command reads: a variable that is set or missing can name another one."""
    typer.echo(f"Database: {shown(database_url(settings.resolved_database_url))}", err=True)
    typer.echo(f"Data folder: {settings.data_dir.absolute()}", err=True)
    place = settings.storage_url if settings.bucket else settings.storage_dir.absolute()
    typer.echo(f"Score files: {place}", err=True)


def fail(error: Exception | str) -> typer.Exit:
    """Print an error to standard error; return the exception that the caller must raise to end the command with exit code 2."""
    typer.echo(f"Error: {shorten(str(error))}", err=True)
    return typer.Exit(2)


def shorten(message: str) -> str:
    """Return a message, cut to `LONGEST_MESSAGE` characters if it is longer."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:LONGEST_MESSAGE]} …"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that already listens on a port. Port 0 selects a free port.

    The socket reserves the port while the server starts, so that no other process can bind the same port. If the port cannot be
    used, the command prints an error and ends.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Listen at once: while nothing listens on a port, other processes can bind the same port. Early requests wait.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise fail(
            f"Cannot listen on {host}:{port}: {error}. Choose another port: --port 8001, or PORT=8001 with make."
        ) from None
