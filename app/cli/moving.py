"""The operator's command that moves the database to another address: ``python -m app move``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import fail
from app.database_url import database_url
from app.db.copying import CopyError
from app.db.migration import MigrationError
from app.management import moving
from app.settings import Settings
from ldsboard.counts import count
from ldsboard.invocation import program

if TYPE_CHECKING:
    from sqlalchemy import URL


def move(
    *,
    database: Annotated[
        str,
        typer.Option(
            help="Address of the new database, without rows: postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///PATH."
        ),
    ],
    replace_nul: Annotated[
        bool,
        typer.Option("--replace-nul", help="Write U+FFFD in place of NUL characters, which text may not have."),
    ] = False,
) -> None:
    """Copy the database to another address, and keep the old one; stop the server first. Files stay in the data folder."""
    settings = Settings()
    try:
        moved = moving.move(settings, database, replace_nul=replace_nul)
    except (CopyError, MigrationError, RuntimeError, ValueError) as error:
        raise fail(error) from None
    width = max(map(len, moved.rows))
    for name, rows in moved.rows.items():
        typer.echo(f"{name:{width}}  {rows:>10,}")
    typer.echo(f"Moved {count(sum(moved.rows.values()), 'row')} of {len(moved.rows)} tables, and compared every value.")
    if moved.not_moved:
        typer.echo(f"Not moved, because LDSBoard has no such tables or columns: {', '.join(moved.not_moved)}.")
    if moved.faults:
        found = count(len(moved.faults), "fault")
        typer.echo(
            f"Rows and files had {found} before the move, and have them still. See: {program('python')} -m app doctor"
        )
    old, new = database_url(settings.resolved_database_url), database_url(database)
    typer.echo(
        f"The old database is kept, unchanged: {_shown(old)}. Files stay in the data folder {settings.data_dir}."
    )
    typer.echo("From now on, use the new database for the server and for all commands:")
    typer.echo(f"  {_setting(new, settings)}")


def _setting(url: URL, settings: Settings) -> str:
    """Return the shell command that makes later commands use a database. ``PASSWORD`` stands for a password."""
    default = settings.model_copy(update={"database_url": ""}).resolved_database_url
    if _shown(url) == _shown(database_url(default)):
        return "unset LDSBOARD_DATABASE_URL"
    placeholder = url if url.password is None else url.set(password="PASSWORD")  # noqa: S106 -- a placeholder
    shown = f"sqlite:///{_shown(url)}" if url.get_backend_name() == "sqlite" else placeholder.render_as_string(False)
    return f"export LDSBOARD_DATABASE_URL={shlex.quote(shown)}"


def _shown(url: URL) -> str:
    """Return the path of an SQLite file, or the address of a PostgreSQL database without its password."""
    if url.get_backend_name() == "sqlite":
        return str(Path(str(url.database)).absolute())
    return moving.without_password(url)
