"""The operator's commands: ``python -m app …``."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import structlog
import typer
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app import people, upkeep
from app.demo import BENCHMARK, PRACTICE, Demo
from app.operation import fail, open_database
from app.services import audit, benchmarks, publication
from app.services.audit import OPERATOR, Action
from app.services.leaderboard import listed
from ldsboard import imports
from ldsboard.origins import BitOrder, Origin, read_origin

cli = typer.Typer(help="LDSBoard, the evaluation service.", no_args_is_help=True, add_completion=False)
benchmark = typer.Typer(help="Publish, import and list benchmarks.", no_args_is_help=True)
cli.add_typer(benchmark, name="benchmark")
cli.add_typer(people.user, name="user")
cli.add_typer(people.token, name="token")
cli.command()(upkeep.rescore)
cli.command()(upkeep.doctor)


def _listen(host: str, port: int) -> socket.socket:
    """Take a port before anything else is begun; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # It listens from now on, since a port that is only bound may be bound by others too; early requests wait for the start.
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise fail(
            RuntimeError(f"expected a free port, got {host}:{port}: {error}. Choose another: PORT=8001")
        ) from None


@cli.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: one that is free.")] = 8000,
) -> None:
    """Serve the site and the API, and evaluate submissions, until Ctrl-C."""
    # Half of what a command takes to start, and of use to this one alone.
    import uvicorn  # noqa: PLC0415

    from app.main import create_app  # noqa: PLC0415
    from app.rooms import Rooms  # noqa: PLC0415

    listener = _listen(host, port)
    settings, database = open_database()
    database.close()
    port = listener.getsockname()[1]
    given = "public_url" in settings.model_fields_set
    if not given:
        settings = settings.model_copy(update={"public_url": f"http://localhost:{port}"})
    try:
        rooms = Rooms.open(settings)
    except RuntimeError as error:
        raise fail(error) from None
    if given:
        typer.echo(f"The server listens on {host}, port {port}.")
    typer.echo(f"The site is at {settings.public_url}. Ctrl-C ends it.")
    config = uvicorn.Config(
        create_app(rooms),
        http="httptools",  # the other one takes a body in chunks that is not of the stated length
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients and proxies keep an idle connection: who closes first loses no request
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)  # as uvicorn ends when it could not start


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    settings, database = open_database()
    database.close()
    typer.echo(f"The database at {settings.resolved_database_url} is up to date.")


@cli.command()
def demo(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    everything: Annotated[
        bool, typer.Option("--all", help="Submit the baselines to the practice board, too: some minutes more.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option(help="Write the leaderboards into this file and end.", show_default=False)
    ] = None,
) -> None:
    """Train a benchmark, publish it and one that ships, submit six baselines, and serve the site until Ctrl-C."""
    _listen("127.0.0.1", port).close()
    settings, database = open_database()
    show = Demo(settings, database, port)
    boards = (BENCHMARK, PRACTICE) if everything else (BENCHMARK,)
    try:
        show.prepare()
        token = show.token()
        with show.serving() as server:
            for board in boards:
                show.submit_baselines(token, board)
            if table is not None:
                for board in boards:
                    show.write_table(table, board)
                return
            show.greet(token)
            raise typer.Exit(server.wait())
    except subprocess.CalledProcessError as error:
        raise fail(RuntimeError(f"a step of the demo failed: {' '.join(error.cmd[1:])}")) from None
    except (RuntimeError, ValueError) as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        typer.echo()
    finally:
        database.close()


@benchmark.command("publish")
def publish_benchmark(
    folder: Annotated[Path, typer.Argument(help="A folder that the worker wrote.")],
    *,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Add the images that it lacks, if you may hand them on: an .npz file, or a folder of .npy files."
        ),
    ] = None,
) -> None:
    """Publish a benchmark folder as the current version."""
    settings, database = open_database()
    try:
        with publication.prepared(settings.benchmarks_dir, folder, images) as made, database.write() as session:
            version = publication.publish(session, made)
            audit.note(session, OPERATOR, Action.BENCHMARK_PUBLISHED, f"{version.benchmark.name} {version.version}")
            published = f"Published {version.benchmark.name} version {version.version}."
    except (ValueError, OSError) as error:
        raise fail(error) from None
    finally:
        database.close()
    typer.echo(published)


@benchmark.command("import")
def import_benchmark(
    name: Annotated[str, typer.Argument(help="Name of the benchmark to be: lower-case letters, digits, dashes.")],
    *,
    masks: Annotated[
        Path, typer.Option(help="The subsets: 0/1 for each training example, index lists, or packed bits.")
    ],
    margins: Annotated[
        Path, typer.Option(help="What the models gave: (subsets, targets) or (subsets, runs, targets).")
    ],
    n_train: Annotated[int | None, typer.Option(min=1, help="Training examples, where the masks do not tell.")] = None,
    packed: Annotated[BitOrder | None, typer.Option(help="The masks are packed bits, in this order in a byte.")] = None,
    removed: Annotated[bool, typer.Option("--removed", help="The masks name what was left out.")] = False,
    losses: Annotated[bool, typer.Option("--losses", help="The margins are losses: negate them.")] = False,
    output_function: Annotated[
        str | None,
        typer.Option(help="What the models gave, by default margin or negative_loss.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Rows of each subset, as runs of it.")] = 1,
    completed: Annotated[
        Path | None, typer.Option(help="Which rows were written: _completed.npy of datamodels.")
    ] = None,
    train_labels: Annotated[Path | None, typer.Option(help="Labels of the training examples.")] = None,
    target_labels: Annotated[Path | None, typer.Option(help="Labels of the targets.")] = None,
    ranking: Annotated[
        str | None, typer.Option(help="Rows that rank: A-B, without B. By default the last 80 %.", show_default=False)
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Shown on its page, by default the name.", show_default=False)
    ] = None,
    description: Annotated[str, typer.Option(help="A sentence or two on data, model and source.")] = "",
    licence: Annotated[str, typer.Option(help="Under which the files may be handed on.")] = "not stated",
    version: Annotated[int, typer.Option(min=1, help="Raise it to correct what was published.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Keep the benchmark folder here.")] = None,
) -> None:
    """Publish ground truth that others trained, as a practice board; see docs/importing.md."""
    origin = Origin(masks, margins, n_train, packed, removed, losses, runs, completed, train_labels, target_labels)
    about: dict[str, Any] = {"name": name, "version": version, "title": title or name, "licence": licence}
    about["description"] = description or f"Ground truth from {masks.name} and {margins.name}, trained elsewhere."
    settings, database = open_database()
    try:
        about["output_function"] = imports.output_function(origin, output_function)
        found = read_origin(origin)
        about["ranking"] = imports.ranking_rows(len(found.masks_Mn), ranking)
        with TemporaryDirectory() as elsewhere:
            folder = out or Path(elsewhere)
            manifest = imports.write_import(folder, origin, found, about)
            with publication.prepared(settings.benchmarks_dir, folder) as made, database.write() as session:
                publication.publish(session, made)
                audit.note(session, OPERATOR, Action.BENCHMARK_PUBLISHED, f"{manifest.name} {manifest.version}")
    except (ValueError, OSError) as error:
        raise fail(error) from None
    finally:
        database.close()
    typer.echo(imports.summary(manifest))


@benchmark.command("list")
def list_benchmarks() -> None:
    """List the published benchmarks."""
    _, database = open_database()
    with database.read() as session:
        for version in benchmarks.current(session):
            entries = len(listed(session, version))
            typer.echo(
                f"{version.benchmark.name} version {version.version}, {version.manifest['split']}, {entries} entries"
            )
    database.close()


def main() -> None:
    """Run a command; logs go to standard error as one line each."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    )
    try:
        cli()
    except ValidationError as error:
        typer.echo(f"Error: the settings are not usable: {error}", err=True)
        raise SystemExit(2) from None
    except (OSError, SQLAlchemyError) as error:
        typer.echo(f"Error: the data folder or the database cannot be used: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
