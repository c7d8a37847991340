"""``python -m app serve`` and ``python -m app migrate``."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from app.cli.common import fail, listen, open_database


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: one that is free.")] = 8000,
) -> None:
    """Serve the site and the API, and evaluate submissions, until Ctrl-C."""
    # Half of what a command takes to start, and of use to this one alone.
    import uvicorn  # noqa: PLC0415

    from app.context import AppContext  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415

    listener = listen(host, port)
    settings, database = open_database()
    database.close()
    port = listener.getsockname()[1]
    given = "public_url" in settings.model_fields_set
    if not given:
        settings = settings.model_copy(update={"public_url": f"http://localhost:{port}"})
    try:
        context = AppContext.open(settings)
    except RuntimeError as error:
        raise fail(error) from None
    if given:
        typer.echo(f"The server listens on {host}, port {port}.")
    typer.echo(f"The site is at {settings.public_url}. Ctrl-C ends it.")
    config = uvicorn.Config(
        create_app(context),
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


def migrate() -> None:
    """Bring the database to the newest schema."""
    settings, database = open_database()
    database.close()
    typer.echo(f"The database at {settings.resolved_database_url} is up to date.")
