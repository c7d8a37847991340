"""The operator's commands ``python -m app serve`` and ``python -m app migrate``."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from functools import partial
from typing import Annotated

import typer

from app.cli.common import fail, listen, migrate_database, read_settings
from app.database_url import database_url
from ldsboard.core.kernel import RouteError, choose_route

BACKLOG = 4096
"""Connections that can wait in the kernel until the server accepts them; net.core.somaxconn can set a lower limit."""

MALLOC_ARENAS = 2
"""Number of regions from which the threads of the server allocate memory.

glibc makes up to 8 arenas for each processor, and no thread uses what another thread has freed in another arena. Under 200 slow
and 50 compressed uploads, the memory of the server grew by 104 to 131 MiB without this limit, and by 76 to 81 MiB with it."""

M_ARENA_MAX = -8
"""Number of the parameter in glibc's ``malloc.h``."""


def limit_malloc_arenas() -> bool:
    """Limit glibc to `MALLOC_ARENAS` arenas; return False if the C library of this process has no such limit."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, MALLOC_ARENAS))
    except (AttributeError, OSError, TypeError):  # another C library; TypeError on Windows
        return False


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free port.")] = 8000,
) -> None:
    """Serve the site and the API, and evaluate submissions, until Ctrl-C."""
    # These imports take half of the start-up time, and only this command needs them.
    import uvicorn  # noqa: PLC0415

    from app.context import AppContext  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.web.connections import Connections, GuardedProtocol, raise_descriptor_limit  # noqa: PLC0415

    limit_malloc_arenas()
    try:
        route = choose_route()
    except RouteError as error:
        raise fail(error) from None
    settings = read_settings(serving=True)
    listener = listen(host, port)
    migrate_database(settings, creates=True)
    port = listener.getsockname()[1]
    has_public_url = "public_url" in settings.model_fields_set
    if not has_public_url:
        settings = settings.model_copy(update={"public_url": f"http://localhost:{port}"})
    try:
        context = AppContext(settings)
    except RuntimeError as error:
        raise fail(error) from None
    if has_public_url:
        typer.echo(f"The server listens on {host}, port {port}.")
    typer.echo(f"The site is at {settings.public_url}. Press Ctrl-C to stop the server.")
    if settings.scoring_processes:
        typer.echo(f"Scores are added with {route}.")
    else:
        typer.echo("Workers score the files. To start one, run this command with the same settings: python -m app work")
    connections = Connections(settings.connections_per_address, raise_descriptor_limit(), settings.is_trusted_proxy)
    config = uvicorn.Config(
        create_app(context),
        # This protocol uses httptools, not h11: h11 accepts a chunked body that does not have the stated length.
        http=partial(GuardedProtocol, connections=connections),  # type: ignore[arg-type]  # called like the class
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        # Seconds. Clients and proxies must close idle connections first; a connection that the server closes can lose a request.
        timeout_keep_alive=75,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    # Modules, routes and templates live as long as the server. A full garbage collection, which stops all requests, skips them.
    gc.freeze()
    with listener, suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(3)  # the exit code of uvicorn after a failed start


def migrate() -> None:
    """Migrate the database to the newest schema."""
    settings = read_settings(serving=False)
    migrate_database(settings, creates=True)
    url = database_url(settings.resolved_database_url)
    typer.echo(f"The database at {url.render_as_string()} is up to date.")  # without the password
