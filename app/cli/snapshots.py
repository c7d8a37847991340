"""The operator's command for snapshots: ``python -m app snapshot``."""

from __future__ import annotations

from typing import Annotated

import typer

from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.benchmarks.catalog import find_version
from app.cli.common import open_database
from app.leaderboard.stored_snapshots import SUMS
from app.management import snapshots
from ldsboard.bundle import sha256


def snapshot(
    benchmark: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    *,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Version of the benchmark; by default the current version.", show_default=False),
    ] = None,
    remove: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            help="Take no snapshot; delete the files of the snapshot of this day, because the law requires it.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="With --remove: why; one line, which everybody can read.", show_default=False)
    ] = "",
) -> None:
    """Write the leaderboard of today (UTC) into a folder for an archive, and serve it under a permanent address."""
    with open_database(ValueError) as (settings, database):
        if remove is not None:
            with database.read() as session:
                number = find_version(session, benchmark, version).version
            snapshots.remove(settings.snapshots_dir, benchmark, number, remove, reason)
            with database.write() as session:
                subject = f"{benchmark} {number} {remove}"
                audit.record_action(session, OPERATOR, Action.SNAPSHOT_REMOVED, subject, reason=reason)
            typer.echo(f"Removed the snapshot of {remove}. Also remove it from archives and backups.")
            return
        if reason:
            raise ValueError("--reason needs --remove.")
        if "public_url" not in settings.model_fields_set:
            raise ValueError(
                "LDSBOARD_PUBLIC_URL is not set. The files of a snapshot hold its permanent address for ever, so set it to the "
                "address under which users open the site, such as https://board.example.org."
            )
        taken = snapshots.take(database, settings.snapshots_dir, settings.public_url, benchmark, version)
        digest = sha256(taken.folder / SUMS)
        if taken.is_new:
            # Every commit also lets the server make its kept pages again.
            with database.write() as session:
                subject = " ".join(taken.folder.parts[-3:])
                audit.record_action(session, OPERATOR, Action.SNAPSHOT_TAKEN, subject, sha256sums=digest)
    typer.echo(
        f"{'Wrote' if taken.is_new else 'The snapshot of today exists, with the same content:'} {taken.folder}\n"
        f"Permanent address: {taken.address}\n"
        f"SHA-256 of {SUMS}: {digest}"
    )
