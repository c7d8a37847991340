"""Move the database of a stopped server to another address: from SQLite to PostgreSQL, or back."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import data_lock
from app.database_url import database_url
from app.db import copying, integrity
from app.db.copying import CopyError
from app.db.migration import revision, revisions, upgrade
from app.db.presence import Presence, Use
from app.db.sessions import Database
from app.management import consistency
from app.submissions.opened_storage import open_storage
from ldsboard.counts import count
from ldsboard.invocation import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection
    from sqlalchemy.engine import Dialect

    from app.settings import Settings
    from app.submissions.storage import Storage

SHOWN = 10
"""Largest number of unfit values that a message names."""


class MoveError(RuntimeError):
    """The database cannot be moved; the message says why, and what to do. No row was changed."""


@dataclass(frozen=True)
class Moved:
    """The number of rows of each table that was moved, what was left behind, and the faults that the source had too."""

    rows: dict[str, int]
    not_moved: list[str]
    faults: list[str]


def move(settings: Settings, target_address: str, *, replace_nul: bool = False) -> Moved:
    """Copy all rows of the database in `settings` into an empty database, in one transaction, and compare them.

    Nobody can write to the source meanwhile, and the source is not changed. If this process is killed, the target holds all rows
    or none. The target is created or migrated first.

    Raises
    ------
    MoveError
        A server runs, the target holds rows, a schema is not that of this release, or a value does not fit the target.
    CopyError, MigrationError
        The target does not hold what was sent; or the target cannot be used.
    """
    source_url, target_url = database_url(settings.resolved_database_url), database_url(target_address, "--database")
    if target_url.get_backend_name() == "sqlite" and target_url.database in (None, "", ":memory:"):
        raise MoveError("--database must name an SQLite file, as sqlite:///PATH; this address names none.")
    if not _exists(source_url):
        raise MoveError(
            f"There is no database at {source_url.database}. Set LDSBOARD_DATA_DIR or LDSBOARD_DATABASE_URL to the installation "
            "that is to be moved, as for its server."
        )
    if _is_same(source_url, target_url):
        raise MoveError(_same_database(settings, target_url))
    with ExitStack() as held:
        for folder in _data_folders(settings, source_url, target_url):
            try:
                held.enter_context(data_lock.lock_file(folder / "server.lock"))
            except Timeout:
                raise MoveError(
                    f"A server uses the data folder {folder}. Stop the server, then repeat the command."
                ) from None
        source = held.enter_context(closing(Database(settings.resolved_database_url)))
        _claim(held, source, "A server or a worker uses the database. Stop it, then repeat the command.")
        # The first connection only holds the write lock: the second one cannot write, and sees one state.
        held.enter_context(source.writer.connect()).begin()
        reading = held.enter_context(source.engine.connect())
        _check_source(reading)
        _check_target(target_url)
        if damage := integrity.find_damage(settings.resolved_database_url):
            raise MoveError(
                f"The database is damaged: {damage[0]}. For all faults, run: {program('python')} -m app doctor"
            )
        _check_values(reading, target_url.get_dialect()(), replace_nul=replace_nul)
        target = held.enter_context(closing(_prepared_target(target_url)))
        _claim(
            held, target, f"A server uses the target, or the target is what you want to move. {_another(target_url)}"
        )
        with target.writer.begin() as writing:
            return _copy(reading, writing, settings, replace_nul=replace_nul)


def _data_folders(settings: Settings, *urls: URL) -> list[Path]:
    """Return the data folder of the settings, and any other data folder in which one of the SQLite files is."""
    if not settings.data_dir.is_dir():
        raise MoveError(
            f"There is no data folder {settings.data_dir}. Set LDSBOARD_DATA_DIR to that of the installation, as for its server."
        )
    folders = [Path(str(url.database)).parent.resolve() for url in urls if url.get_backend_name() == "sqlite"]
    others = {folder for folder in folders if (folder / "server.lock").exists()} - {settings.data_dir.resolve()}
    return [settings.data_dir.absolute(), *sorted(others)]


def _copy(reading: Connection, writing: Connection, settings: Settings, *, replace_nul: bool) -> Moved:
    """Copy all rows; raise an exception unless the target is as consistent with the files as the source."""
    _check_empty(writing)
    unknown = copying.unknown_columns(reading)
    if forgotten := {*unknown} & {*copying.unknown_columns(writing)}:
        raise CopyError(f"This release has no model of {', '.join(sorted(forgotten))}. Nothing was saved.")
    rows = copying.copy_rows(reading, writing, replace_nul=replace_nul)
    storage = open_storage(settings)
    faults, arrived = (_faults(each, storage, settings.benchmarks_dir) for each in (reading, writing))
    if new := [message for message in arrived if message not in faults]:
        raise CopyError(f"The target does not agree with the files: {new[0]}. Nothing was saved.")
    return Moved(rows, unknown, faults)


def _faults(connection: Connection, storage: Storage, benchmarks: Path) -> list[str]:
    """Return what `doctor --quick` finds in a database."""
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        return [finding.message for finding in consistency.inspect(session, storage, benchmarks, quick=True)]


def _check_target(url: URL) -> None:
    """Raise MoveError unless the target is empty, or an SQLite file that does not exist in a folder that does."""
    if url.get_backend_name() == "sqlite":
        folder = Path(str(url.database)).parent
        if not folder.is_dir():
            raise MoveError(f"There is no folder {folder}. Create it: mkdir -m 700 -p {shlex.quote(str(folder))}")
        if not _exists(url):
            return
    with closing(Database(_address(url))) as target, _connected(target, url) as connection:
        if (problem := target.unfit(connection)) is not None:
            raise MoveError(f"{problem} {_another(url)}")
        _check_empty(connection)
        if (found := revision(connection)) not in (None, *revisions()):
            raise MoveError(f"The target has revision {found} of another release of LDSBoard. {_another(url)}")


@contextmanager
def _connected(target: Database, url: URL) -> Iterator[Connection]:
    """Connect to the target; raise MoveError if this is impossible."""
    try:
        connection = target.engine.connect()
    except DBAPIError as error:
        shown = url.database if url.get_backend_name() == "sqlite" else without_password(url)
        raise MoveError(f"The target {shown} cannot be used: {' '.join(str(error.orig).split())}") from None
    with connection:
        yield connection


def _prepared_target(url: URL) -> Database:
    """Create and migrate the target; return it."""
    if url.get_backend_name() == "sqlite":
        # The database holds hidden results at full precision, so only the server's own user may read the file.
        Path(str(url.database)).touch(mode=0o600)
    upgrade(_address(url))
    return Database(_address(url))


def _address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _check_source(connection: Connection) -> None:
    """Raise MoveError unless the source has the newest schema."""
    found, known = revision(connection), revisions()
    if found is None:
        raise MoveError(
            "The database holds no tables of LDSBoard. Set LDSBOARD_DATA_DIR or LDSBOARD_DATABASE_URL to the installation that "
            "is to be moved, as for its server."
        )
    if found not in known:
        raise MoveError(f"The database has revision {found} of another release of LDSBoard. Move it with that release.")
    if found != known[0]:
        raise MoveError(
            f"The database has revision {found}, and this release has {known[0]}. Make a backup, and migrate the database: "
            f"{program('python')} -m app migrate"
        )


def _check_empty(connection: Connection) -> None:
    """Raise MoveError if any table of the target holds rows."""
    if filled := copying.filled_tables(connection):
        held = ", ".join(f"{count(rows, 'row')} in {name}" for name, rows in filled.items())
        raise MoveError(f"The target holds {held}. A target must be empty. {_another(connection.engine.url)}")


def _check_values(source: Connection, target: Dialect, *, replace_nul: bool) -> None:
    """Raise MoveError if the target refuses a value of the source, or would change it."""
    unfit = (found for found in copying.unfit_values(source, target) if not (replace_nul and found[1]))
    shown = list(islice(unfit, SHOWN))
    if not shown:
        return
    more = sum(1 for _ in unfit)
    lines = [message for message, _ in shown] + ([f"and {count(more, 'more value')}"] if more else [])
    hint = "Correct these values in the database, then repeat the command."
    if all(is_nul for _, is_nul in shown):
        hint = "Repeat the command with --replace-nul, which writes U+FFFD in place of each NUL character."
    raise MoveError("\n  ".join(["Some values do not fit the target:", *lines]) + f"\n{hint}")


def _claim(held: ExitStack, database: Database, refusal: str) -> None:
    """Keep servers and workers from using a PostgreSQL database; raise MoveError if one uses the database."""
    try:
        held.callback(Presence(database, Use.ALONE).close)
    except RuntimeError:
        raise MoveError(refusal) from None


def _exists(url: URL) -> bool:
    """Return whether an SQLite file exists, without creating it. A PostgreSQL database shows that when it is opened."""
    return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()


def _is_same(source: URL, target: URL) -> bool:
    """Return whether two addresses name one database."""
    if source.get_backend_name() == target.get_backend_name() == "sqlite":
        path = Path(str(target.database))
        return path.exists() and path.samefile(str(source.database))
    return (source.host, source.port, source.database, source.query) == (
        target.host, target.port, target.database, target.query,
    )  # fmt: skip


def _same_database(settings: Settings, target: URL) -> str:
    """Return the message for a target that is the source."""
    default = database_url(settings.model_copy(update={"database_url": ""}).resolved_database_url)
    if not settings.database_url or not _exists(default):
        return f"--database names the database that is to be moved. {_another(target)}"
    # The operator has set the new address too early.
    moving = f'{program("python")} -m app move --database "$LDSBOARD_DATABASE_URL"'
    return (
        "LDSBOARD_DATABASE_URL names the target, and must name the database that is to be moved. To move the SQLite file in the "
        f"data folder: env -u LDSBOARD_DATABASE_URL {moving}"
    )


def _another(url: URL) -> str:
    """Return how to get an empty target in place of `url`. The address is shown without its password."""
    python = program("python")
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database)).absolute()
        free = next(new for number in numbers(2) if not (new := path.with_stem(f"{path.stem}-{number}")).exists())
        return f"Name a file that does not exist: {python} -m app move --database {shlex.quote(f'sqlite:///{free}')}"
    shown, name = without_password(url), f"{url.database}_new"
    creating = (
        f"createdb --maintenance-db={shlex.quote(shown)} --template=template0 --encoding=UTF8 {shlex.quote(name)}"
    )
    return f"Create an empty database, and name it with --database: {creating}"


def without_password(url: URL) -> str:
    """Return an address for the programs of PostgreSQL, which ask for a missing password."""
    # `URL.set` cannot remove a password.
    shown = URL.create(url.get_backend_name(), url.username, None, url.host, url.port, url.database, url.query)
    return shown.render_as_string()
