"""The database that the rows of a moved installation go to: it must be empty, and it is created and migrated first."""

from __future__ import annotations

import shlex
from contextlib import closing, contextmanager
from itertools import count as numbers
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from app.db import copying
from app.db.migration import revision, revisions, upgrade
from app.db.sessions import Database
from app.management.installation import exists, shown
from app.management.move_options import MoveError
from ldsboard.counts import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection

    from app.management.move_options import MoveOptions


def check_target(url: URL, options: MoveOptions) -> None:
    """Raise MoveError unless the target is empty, or an SQLite file that does not exist in a folder that does."""
    if url.get_backend_name() == "sqlite":
        folder = Path(str(url.database)).parent
        if not folder.is_dir():
            raise MoveError(f"There is no folder {folder}. Create it: mkdir -m 700 -p {shlex.quote(str(folder))}")
        if not exists(url):
            return
    with closing(Database(_address(url))) as target, _connected(target, url) as connection:
        if (problem := target.unfit(connection)) is not None:
            raise MoveError(f"{problem} {another(url, options)}")
        check_empty(connection, options)
        if (found := revision(connection)) not in (None, *revisions()):
            raise MoveError(f"The target has revision {found} of another release of LDSBoard. {another(url, options)}")


@contextmanager
def _connected(target: Database, url: URL) -> Iterator[Connection]:
    """Connect to the target; raise MoveError if this is impossible."""
    try:
        connection = target.engine.connect()
    except DBAPIError as error:
        raise MoveError(f"The target {shown(url)} cannot be used: {' '.join(str(error.orig).split())}") from None
    with connection:
        yield connection


def prepared_target(url: URL) -> Database:
    """Create and migrate the target; return it."""
    if url.get_backend_name() == "sqlite":
        # The database holds hidden results at full precision, so only the server's own user may read the file.
        Path(str(url.database)).touch(mode=0o600)
    upgrade(_address(url))
    return Database(_address(url))


def _address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def check_empty(connection: Connection, options: MoveOptions) -> None:
    """Raise MoveError if any table of the target holds rows."""
    if filled := copying.filled_tables(connection):
        held = ", ".join(f"{count(rows, 'row')} in {name}" for name, rows in filled.items())
        hint = another(connection.engine.url, options)
        raise MoveError(f"The target holds {held}. A target must be empty. {hint}")


def is_same(source: URL, target: URL) -> bool:
    """Return whether two addresses name one database."""
    if source.get_backend_name() == target.get_backend_name() == "sqlite":
        path = Path(str(target.database))
        return path.exists() and path.samefile(str(source.database))
    return (source.host, source.port, source.database, source.query) == (
        target.host, target.port, target.database, target.query,
    )  # fmt: skip


def another(url: URL, options: MoveOptions) -> str:
    """Return how to get an empty target in place of `url`. The address is shown without its password."""
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database)).absolute()
        free = next(new for number in numbers(2) if not (new := path.with_stem(f"{path.stem}-{number}")).exists())
        return f"Name a file that does not exist: {options.command(database=shlex.quote(f'sqlite:///{free}'))}"
    # The user of the database may rarely create one. In a URL, the host and the port can stand among the parameters, too.
    place = {name: getattr(url, name) or url.query.get(name) for name in ("host", "port")} | {"username": "postgres"}
    given = {name: value for name, value in (place | {"owner": url.username}).items() if value}
    words = [f"--{name}={shlex.quote(str(value))}" for name, value in given.items()]
    creating = f"createdb {' '.join(words)} --template=template0 --encoding=UTF8 {shlex.quote(f'{url.database}_new')}"
    return f"Let an administrator of PostgreSQL create an empty database, and name it with --database: {creating}"
