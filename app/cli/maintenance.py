"""The operator's commands that keep a board right: ``python -m app rescore`` and ``python -m app doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app import data_lock
from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.cli.common import fail, open_database, writing
from app.management import consistency
from app.scoring import rescoring
from app.submissions.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.sessions import Database
    from app.management.consistency import Finding


def rescore() -> None:
    """Have everything scored again that the present scorer has not scored, or that failed; boards change when all is done."""
    with writing() as session:
        waiting = rescoring.requeue_outdated(session)
        audit.record_action(session, OPERATOR, Action.SUBMISSION_RESCORED, "all", evaluations=waiting)
    typer.echo(
        f"{waiting} evaluations wait. The server does them, now or when it starts; a board changes when all of its own are done."
        if waiting
        else "Every board is as the present scorer makes it."
    )


def doctor(
    *, repair: Annotated[bool, typer.Option("--repair", help="Mend what can be; no server may run.")] = False
) -> None:
    """Look for rows and files that do not agree; end with status 1 if any remain."""
    settings, database = open_database()
    storage = Storage(settings.storage_dir)
    try:
        if repair:
            with data_lock.hold(settings.data_dir), database.write() as session:
                remaining = _mend(session, consistency.inspect(session, storage, settings.benchmarks_dir))
        else:
            remaining = examine(database, storage, settings.benchmarks_dir)
    except RuntimeError as error:
        raise fail(error) from None
    finally:
        database.close()
    for what in remaining:
        typer.echo(what)
    if remaining:
        raise typer.Exit(1)
    typer.echo("Rows and files agree.")


def _mend(session: Session, findings: Iterable[Finding]) -> list[str]:
    """Mend what can be and say so; return what cannot."""
    remaining = []
    for finding in findings:
        if finding.mend is None:
            remaining.append(finding.what)
            continue
        finding.mend()
        session.flush()
        typer.echo(f"{finding.what}: mended")
    return remaining


def examine(database: Database, storage: Storage, benchmarks: Path) -> list[str]:
    """Return what does not agree, also while a server runs.

    What is found is looked for once more while nobody writes: a file that was just accepted, or is just deleted, is no finding.
    """
    with database.read() as session:
        damaged = [finding.what for finding in consistency.inspect_benchmarks(session, benchmarks)]
        found = [finding.what for finding in consistency.inspect_submissions(session, storage)]
    if found:
        with database.write() as session:
            still = {finding.what for finding in consistency.inspect_submissions(session, storage)}
        found = [what for what in found if what in still]
    return damaged + found
