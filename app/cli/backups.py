"""The operator's command that copies an installation while it runs: ``python -m app backup``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.cli.common import open_database
from app.db.copying import CopyError
from app.errors import StorageAwayError
from app.management import backups
from ldsboard.commands.progress import scoring_bar
from ldsboard.counts import count
from ldsboard.invocation import program


def backup(
    folder: Annotated[Path, typer.Argument(help="New or empty folder, or one that holds an earlier backup.")],
) -> None:
    """Copy the database, the score files and the data folder to a folder; servers and workers can run meanwhile.

    The copy is a data folder that servers can use. A later backup to the same folder copies only score files that are new.
    """
    with (
        open_database(RuntimeError, CopyError, StorageAwayError) as (settings, database),
        scoring_bar(Console(stderr=True), "Copying score files") as show,
    ):
        done = backups.back_up(settings, database, folder, show)
    kept = f"; {count(done.kept, 'file')} of an earlier backup used" if done.kept else ""
    typer.echo(f"Copied: {count(done.files, 'score file')} ({done.size / 2**20:,.1f} MiB){kept}.")
    typer.echo(f"The backup is complete: {folder.absolute()}")
    if done.faults:
        for message in done.faults:
            typer.echo(message)
        found = count(len(done.faults), "fault")
        typer.echo(f"The installation has {found}, and so has the backup. See: {program('python')} -m app doctor")
        raise typer.Exit(1)
