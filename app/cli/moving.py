"""The operator's command that moves the rows and the score files of an installation elsewhere: ``python -m app move``."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from app.cli.common import fail
from app.database_url import database_url, with_placeholder
from app.db.copying import CopyError
from app.db.migration import MigrationError
from app.management import moving
from app.management.installation import shown
from app.management.move_options import MoveOptions
from app.settings import Settings
from ldsboard.commands.progress import scoring_bar
from ldsboard.counts import count
from ldsboard.invocation import program

if TYPE_CHECKING:
    from sqlalchemy import URL

    from app.management.file_copies import Copied


def move(
    *,
    database: Annotated[
        str | None,
        typer.Option(
            help="Address of the new database, without rows: postgresql://USER:PASSWORD@HOST/NAME, or sqlite:///PATH."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="New place of the score files: s3://BUCKET/PREFIX, or the path of a folder."),
    ] = None,
    replace_nul: Annotated[
        bool,
        typer.Option("--replace-nul", help="Write U+FFFD in place of NUL characters, which text may not have."),
    ] = False,
) -> None:
    """Copy the database, the score files, or both, to another place, and keep the old ones; stop all servers and workers first.

    The access key and the address of a bucket are taken from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and
    AWS_REGION, as for the server. A move that was interrupted is repeated, and goes on.
    """
    if database is None and storage is None:
        raise fail("Name what is to be moved, and where to: --database ADDRESS, --storage PLACE, or both.")
    settings, options = Settings(), MoveOptions(database, storage, replace_nul)
    try:
        moved = moving.move(settings, options, partial(scoring_bar, Console(stderr=True)))
        target = options.target_settings(settings)
    except (CopyError, MigrationError, RuntimeError, ValueError) as error:
        raise fail(error) from None
    if moved.rows:
        _print_rows(moved)
    if moved.files is not None:
        _print_files(moved.files)
    lines, kept = [], []
    if database is not None:
        new = database_url(database)
        if new.get_backend_name() == "sqlite" and not settings.scoring_processes:
            lines.append("unset LDSBOARD_SCORING_PROCESSES")  # SQLite has no workers
        lines.append(_database_setting(new, settings))
        kept.append(f"The old database is kept, unchanged: {shown(database_url(settings.resolved_database_url))}.")
    kept.append(f"{'Files stay' if storage is None else 'The old files are kept, unchanged:'} {_place(settings)}.")
    if storage is not None:
        lines += _storage_settings(target, settings)
    typer.echo(" ".join(kept))
    what = {(True, False): "the new database", (False, True): "the new place of the files"}
    used = what.get((database is not None, storage is not None), "both")
    typer.echo(f"From now on, use {used} for all servers, workers and commands:")
    for line in lines:
        typer.echo(f"  {line}")


def _print_rows(moved: moving.Moved) -> None:
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


def _print_files(files: Copied) -> None:
    kept = f" {count(files.kept, 'file was', 'files were')} there already." if files.kept else ""
    typer.echo(f"Moved {count(files.files, 'file')} of {count(files.size, 'byte')}, and compared every SHA-256.{kept}")
    if files.faults:
        found = count(len(files.faults), "file")
        typer.echo(f"Not moved, because {found} had faults before the move:")
        for fault in files.faults[: moving.SHOWN]:
            typer.echo(f"  {fault}")
        if (more := len(files.faults) - moving.SHOWN) > 0:
            typer.echo(f"  and {count(more, 'more file')}")


def _place(settings: Settings) -> str:
    """Return where the score files are."""
    if settings.bucket is not None:
        return f"in the bucket {settings.storage_url}"
    return (
        f"in the folder {settings.storage_dir}" if settings.storage_url else f"in the data folder {settings.data_dir}"
    )


def _database_setting(url: URL, settings: Settings) -> str:
    """Return the shell command that makes later commands use a database. ``PASSWORD`` stands for a password."""
    default = settings.model_copy(update={"database_url": ""}).resolved_database_url
    if shown(url) == shown(database_url(default)):
        return "unset LDSBOARD_DATABASE_URL"
    address = f"sqlite:///{shown(url)}" if url.get_backend_name() == "sqlite" else with_placeholder(url)
    return f"export LDSBOARD_DATABASE_URL={shlex.quote(address)}"


def _storage_settings(target: Settings, settings: Settings) -> list[str]:
    """Return the shell commands that make later commands use a folder or bucket; of the access key, only the names."""
    if target.bucket is None:
        default = settings.model_copy(update={"storage_url": ""}).storage_dir
        direct = ["unset LDSBOARD_STORAGE_PUBLIC_URL"] if target.storage_public_url else []
        if target.storage_dir.resolve() == default.resolve():
            return [*direct, "unset LDSBOARD_STORAGE_URL"]
        return [*direct, f"export LDSBOARD_STORAGE_URL={shlex.quote(target.storage_url)}"]
    known = {"AWS_ENDPOINT_URL": target.aws_endpoint_url, "AWS_REGION": target.aws_region}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in known.items() if value]
    key = "export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY  # with the values that this command had"
    return [f"export LDSBOARD_STORAGE_URL={shlex.quote(target.storage_url)}", *lines, key]
