"""The operator's command ``python -m app work``: evaluate submissions in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer
from psycopg.conninfo import make_conninfo
from sqlalchemy import select

from app import data_lock
from app.benchmarks.catalog import current_versions, version_folder
from app.cli.common import fail, open_database
from app.counterfactual.runner import Retrainings
from app.database_url import database_url
from app.db.models import Version
from app.db.presence import Presence, Use
from app.leaderboard.ranking import preload_imports
from app.scoring.evaluator import Evaluator
from app.scoring.sandbox.client import Sandbox
from app.submissions.opened_storage import open_storage
from ldsboard.core.kernel import RouteError, choose_route

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.settings import Settings


def work(
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Number of score files to evaluate at the same time.")
    ] = 1,
) -> None:
    """Evaluate the submissions of servers with LDSBOARD_SCORING_PROCESSES=0, until Ctrl-C.

    Start as many workers as you like, with the settings of the servers. A worker that is stopped or killed loses nothing.
    """
    with open_database(RuntimeError, serving=True) as (settings, database):
        if settings.scoring_processes:
            raise fail(
                "The server evaluates submissions itself. For workers, set LDSBOARD_SCORING_PROCESSES=0 for the server and for "
                "the workers, and LDSBOARD_DATABASE_URL to a PostgreSQL database."
            )
        try:
            route = choose_route()
        except RouteError as error:
            raise fail(error) from None
        from app.scoring.worker import Worker  # noqa: PLC0415 -- procrastinate is slow to import

        presence = Presence(database, Use.WORKER, data_lock.folder_id(settings.data_dir, create=True))
        data_lock.share_data_folder(settings.data_dir)  # until this process ends
        with database.read() as session:
            _check_benchmarks(session, settings)
            folders = [
                version_folder(settings.benchmarks_dir, version.benchmark.name, version.version)
                for version in current_versions(session)
            ]
        storage = open_storage(settings)
        storage.delete_incomplete()
        retrainings = Retrainings.of(settings, database, storage)
        sandbox = Sandbox.of(concurrency)
        sandbox.start()
        for folder in folders:
            sandbox.preload(folder)
        preload_imports()
        undisturbed = nullcontext if retrainings is None else retrainings.paused
        evaluator = Evaluator(database, storage, settings.benchmarks_dir, sandbox, settings.retry_seconds, undisturbed)
        typer.echo(f"Scores are added with {route}.")
        worker = Worker(libpq_address(settings), evaluator, presence, concurrency)
        typer.echo(f"Evaluating at most {concurrency} at the same time. Press Ctrl-C to stop.")
        try:
            if retrainings is not None:
                retrainings.start()
            asyncio.Runner().run(worker.run())
        finally:
            if retrainings is not None:
                retrainings.stop()
            sandbox.stop()
        # Threads that wait for a database that is away would hold up the end for minutes.
        sys.stdout.flush()
        os._exit(0)


def _check_benchmarks(session: Session, settings: Settings) -> None:
    """End the command if a benchmark of the database is not in the data folder: its evaluations would fail."""
    for version in session.scalars(select(Version)):
        folder = version_folder(settings.benchmarks_dir, version.benchmark.name, version.version)
        if not folder.is_dir():
            raise fail(
                f"There is no folder {folder.absolute()}. Set LDSBOARD_DATA_DIR to the data folder that the servers use."
            )


def libpq_address(settings: Settings) -> str:
    """Return the address of the database for libpq. Unlike a URL, it can hold every password."""
    url = database_url(settings.resolved_database_url)
    return make_conninfo(**url.get_dialect()().create_connect_args(url)[1])
