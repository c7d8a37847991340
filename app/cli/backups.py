"""The operator's command that copies an installation while it runs: ``python -m app backup``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.common import fail, open_database, print_places
from app.db.copying import CopyError
from app.errors import StorageAwayError
from app.management import backups
from app.settings import Settings
from ldsboard.commands.progress import scoring_bar
from ldsboard.counts import count
from ldsboard.invocation import program


def backup(
    folder: Annotated[Path, typer.Argument(help="New or empty folder, or one that holds an earlier backup.")],
) -> None:
    """Copy the database, the score files and the data folder to a folder; servers and workers can run meanwhile.

    The copy is a data folder that servers can use. A later backup to the same folder copies only score files that are new.
    """
    try:
        backups.check_folder(Settings(), folder)  # at once: to open a database that is away takes long
    except backups.BackupError as error:
        raise fail(error) from None
    with (
        open_database(RuntimeError, CopyError, StorageAwayError) as (settings, database),
        scoring_bar(Console(stderr=True), "Copying score files") as show,
    ):
        print_places(settings)
        done = backups.back_up(settings, database, folder, show)
    kept = f"; {count(done.kept, 'file')} of an earlier backup used" if done.kept else ""
    typer.echo(f"Copied: {count(done.files, 'score file')} ({done.size / 2**20:,.1f} MiB){kept}.")
    if not done.faults:
        typer.echo(f"The backup is complete: {folder.absolute()}")
        return
    for message in done.faults:
        typer.echo(message)
    found = count(len(done.faults), "fault")
    typer.echo(f"The backup in {folder.absolute()} is not complete, because the installation has {found}.")
    typer.echo(f"All files of an earlier backup are kept. See: {program('python')} -m app doctor")
    raise typer.Exit(1)
