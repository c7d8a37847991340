"""The operator's command ``python -m app work``: evaluate submissions in a process of its own."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from app.benchmarks.catalog import current_versions, version_folder
from app.cli.common import fail, open_database
from app.database_url import database_url
from app.db.presence import Presence, Use
from app.scoring.evaluator import Evaluator
from app.scoring.sandbox.client import Sandbox
from app.submissions.storage import Storage


def work(
    concurrency: Annotated[
        int, typer.Option(min=1, max=64, help="Number of score files to evaluate at the same time.")
    ] = 1,
) -> None:
    """Evaluate the submissions of servers with LDSBOARD_SCORING_PROCESSES=0, until Ctrl-C.

    Start as many workers as you like, with the settings of the servers. A worker that is stopped or killed loses nothing.
    """
    with open_database(RuntimeError) as (settings, database):
        if settings.scoring_processes:
            raise fail(
                "The server evaluates submissions itself. For workers, set LDSBOARD_SCORING_PROCESSES=0 for the server and for "
                "the workers, and LDSBOARD_DATABASE_URL to a PostgreSQL database."
            )
        from app.scoring.worker import Worker  # noqa: PLC0415 -- procrastinate is slow to import

        presence = Presence(database, Use.WORKER)
        sandbox = Sandbox.of(concurrency)
        sandbox.start()
        with database.read() as session:
            for version in current_versions(session):
                sandbox.preload(version_folder(settings.benchmarks_dir, version.benchmark.name, version.version))
        storage = Storage(settings.storage_dir, settings.spare_bytes)
        evaluator = Evaluator(database, storage, settings.benchmarks_dir, sandbox, settings.retry_seconds)
        address = database_url(settings.resolved_database_url).set(drivername="postgresql")
        typer.echo(f"Evaluating at most {concurrency} at the same time. Press Ctrl-C to stop.")
        with asyncio.Runner() as runner:
            runner.run(Worker(address.render_as_string(hide_password=False), evaluator, presence, concurrency).run())
        # The evaluations that still run were requeued. Without their processes, the threads end, and save nothing.
        sandbox.stop()
