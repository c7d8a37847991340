"""The operator's commands that keep a board right: ``python -m app rescore`` and ``python -m app doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from app import lock
from app.operation import fail, open_database, writing
from app.services import audit, boards, inspection
from app.services.audit import OPERATOR, Action
from app.storage import Storage


def rescore() -> None:
    """Have everything scored again that the present scorer has not scored, or that failed; boards change when all is done."""
    with writing() as session:
        waiting = boards.renew(session)
        audit.note(session, OPERATOR, Action.SUBMISSION_RESCORED, "all", evaluations=waiting)
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
    remaining = 0
    try:
        held = lock.hold(settings.data_dir) if repair else None
        with database.write() if repair else database.read() as session:
            for finding in inspection.inspect(session, storage, settings.benchmarks_dir):
                mended = repair and finding.mend is not None
                if repair and finding.mend is not None:
                    finding.mend()
                    session.flush()
                remaining += not mended
                typer.echo(f"{finding.what}{': mended' if mended else ''}")
        if held is not None:
            held.close()
    except RuntimeError as error:
        raise fail(error) from None
    finally:
        database.close()
    if remaining:
        raise typer.Exit(1)
    typer.echo("Rows and files agree.")
