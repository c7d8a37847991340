"""The operator's maintenance commands: ``python -m app rescore``, ``python -m app prune`` and ``python -m app doctor``."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from app import data_lock
from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.cli.common import open_database, print_places, read_settings, write_session
from app.counterfactual.queue import try_again
from app.db import integrity
from app.errors import StorageAwayError
from app.management import consistency, damage
from app.management.retention import Deleted, Periods, sweep
from app.scoring import rescoring
from app.submissions.opened_storage import open_storage
from ldsboard.counts import count

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.management.consistency import Finding
    from app.submissions.storage import Storage


def rescore() -> None:
    """Queue all missing rescorings, such as those for a new scorer version; try again what failed, also retrainings."""
    with write_session() as session:
        waiting = rescoring.queue_rescorings(session)
        retrainings = try_again(session)
        audit.record_action(session, OPERATOR, Action.SUBMISSION_RESCORED, "all", evaluations=waiting)
    typer.echo(
        f"Queued: {count(waiting, 'rescoring')}. The server, or its workers, run them now or when they start; "
        "a board changes when all of its rescorings are done."
        if waiting
        else "Every board shows the results of the current scorer version."
    )
    if retrainings:
        typer.echo(f"Queued again: {count(retrainings, 'entry', 'entries')} whose models could not be retrained.")


def prune() -> None:
    """Delete events, submissions, attributions, audit rows and webhook calls that are older than the settings allow.

    Attempts are never deleted. The command also deletes the hashed identities of accounts that were deleted long ago, the
    expired tokens of CI runs, and the records of used identity tokens that have expired. A running server deletes the same
    rows every hour. You need not stop the server for this command.
    """
    with open_database(RuntimeError) as (settings, database):
        storage, periods = open_storage(settings), Periods.of(settings)
        deleted = Deleted(0, 0, 0, 0)
        while any(batch := sweep(database, storage, periods)):
            deleted = Deleted(*(sum(numbers) for numbers in zip(deleted, batch, strict=True)))
    typer.echo(
        f"Deleted: {count(deleted.events, 'event')}, {count(deleted.submissions, 'submission')}, the attributions of "
        f"{count(deleted.attributions, 'evaluation')}, {count(deleted.audit_rows, 'row')} of the audit log, "
        f"{count(deleted.webhook_calls, 'call')} of webhooks, {count(deleted.ended_tokens, 'token')} and "
        f"{count(deleted.used_identities, 'used identity', 'used identities')} of CI runs, and the hashed identities of "
        f"{count(deleted.identities, 'deleted account')}."
    )


def doctor(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired; stop all servers and workers first.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Do not look for damage inside score files, hidden subsets and the database."),
    ] = False,
) -> None:
    """Check that database rows and files agree and are not damaged; print the faults, and repair them with --repair.

    The exit status is 1 if there are faults. With --repair, the exit status is 1 only if some faults cannot be repaired.
    """
    read = read_settings(serving=False)
    print_places(read)
    if not quick:
        _check_database(read.resolved_database_url)
    with open_database(RuntimeError, StorageAwayError) as (settings, database):
        storage = open_storage(settings)
        snapshots = consistency.inspect_snapshots(settings.snapshots_dir, quick=quick)
        if repair:
            with data_lock.lock_data_folder(settings.data_dir), database.write() as session:
                found = consistency.inspect(session, storage, settings.benchmarks_dir, quick=quick)
                remaining = _repair(session, chain(found, snapshots))
                storage.delete_incomplete()
        else:
            remaining = find_inconsistencies(database, storage, settings.benchmarks_dir, quick=quick)
            remaining += [finding.message for finding in snapshots]
    for message in remaining:
        typer.echo(message)
    if remaining:
        raise typer.Exit(1)
    typer.echo("Database rows and files agree.")


def _check_database(url: str) -> None:
    """End the command if the database is damaged: no other check would be reliable, and a migration could do more damage."""
    if found := integrity.find_damage(url):
        for message in found:
            typer.echo(f"The database is damaged: {message}")
        typer.echo("Stop all servers and workers, and restore the data folder from a backup (docs/how-to/operate.md).")
        raise typer.Exit(1)


def _repair(session: Session, findings: Iterable[Finding]) -> list[str]:
    """Repair findings and print each repair; return the messages of the findings that cannot be repaired."""
    remaining = []
    for finding in findings:
        if finding.repair is None:
            remaining.append(finding.message)
            continue
        finding.repair()
        session.flush()
        typer.echo(f"{finding.message}: repaired")
    return remaining


def find_inconsistencies(database: Database, storage: Storage, benchmarks: Path, *, quick: bool = False) -> list[str]:
    """Return messages about inconsistencies between rows and files, and about damage. The server can run meanwhile.

    Nothing is repaired. With `quick`, the content of files is not checked for damage. Findings about submissions are checked
    again under the write lock, because a file that is just being accepted or deleted looks inconsistent.
    """
    with database.read() as session:
        hashes = {} if quick else damage.stated_hashes(session, storage)
    # Read all files without an open session: while a session is open, the write-ahead log of the database only grows.
    altered = damage.find_altered(storage, hashes)
    with database.read() as session:
        damaged = [finding.message for finding in consistency.inspect_benchmarks(session, benchmarks, quick=quick)]
        found = [finding.message for finding in consistency.inspect_submissions(session, storage, altered)]
    if found:
        with database.write() as session:
            confirmed = {finding.message for finding in consistency.inspect_submissions(session, storage, altered)}
        found = [message for message in found if message in confirmed]
    return damaged + found
