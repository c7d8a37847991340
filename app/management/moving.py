"""Move the rows and the score files of a stopped server: from SQLite and a folder to PostgreSQL and a bucket, or back.

The files are copied first, and the rows in one transaction at the end. A move that is killed has therefore moved no rows, and a
repeated move finds the files that have arrived.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout
from sqlalchemy.orm import Session

from app import data_lock
from app.database_url import database_url
from app.db import copying, integrity
from app.db.copying import CopyError
from app.db.migration import revision, revisions
from app.db.presence import Presence, Use
from app.db.sessions import Database
from app.management import consistency
from app.management.file_copies import Copied, FileCopies
from app.management.installation import check_places, exists
from app.management.move_options import MoveError
from app.management.target_database import another, check_empty, check_target, is_same, prepared_target
from app.submissions.opened_storage import open_storage
from ldsboard.counts import count
from ldsboard.invocation import program

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection
    from sqlalchemy.engine import Dialect

    from app.management.move_options import MoveOptions
    from app.settings import Settings
    from app.submissions.storage import Storage

SHOWN = 10
"""Largest number of unfit values that a message names."""

Progress = Callable[[str], AbstractContextManager[Callable[[float], object] | None]]
"""Shows the progress of a step with this name, by a function that is called with the fraction that is done."""


@dataclass(frozen=True)
class Moved:
    """The number of rows of each table that was moved, what was left behind, the faults that rows had before, and the files."""

    rows: dict[str, int] = field(default_factory=dict)
    not_moved: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    files: Copied | None = None


def move(settings: Settings, options: MoveOptions, progress: Progress = lambda _: nullcontext()) -> Moved:
    """Copy the score files, the rows, or both, of the installation in `settings` to where `options` says.

    All rows go into an empty database, in one transaction, and are compared; the target is created or migrated first. Nobody can
    write to the source meanwhile, and the source is not changed. If this process is killed, the target holds all rows or none.

    Raises
    ------
    MoveError
        A server runs, a target holds something else, a schema is not that of this release, a value does not fit the target, or a
        store is out of reach.
    CopyError, MigrationError
        The target does not hold what was sent; or the target cannot be used.
    RuntimeError, ValueError
        A bucket cannot be used; an option or a setting is wrong.
    """
    source_url, target_url = database_url(settings.resolved_database_url), options.target_url()
    target_settings = options.target_settings(settings)
    check_places(settings)
    _check_different(settings, target_settings, target_url, options)
    with ExitStack() as held:
        for folder in _data_folders(settings, target_settings, source_url, target_url):
            _lock(held, folder)
        source = held.enter_context(closing(Database(settings.resolved_database_url)))
        _claim(
            held,
            source,
            "A server or a worker uses the database. Stop all servers and workers, then repeat the command.",
        )
        # The first connection only holds the write lock: the second one cannot write, and sees one state.
        held.enter_context(source.writer.connect()).begin()
        reading = held.enter_context(source.engine.connect())
        _check_source(reading)
        if target_url is not None:
            check_target(target_url, options)
        if damage := integrity.find_damage(settings.resolved_database_url):
            raise MoveError(
                f"The database is damaged: {damage[0]}. For all faults, run: {program('python')} -m app doctor"
            )
        target = None
        if target_url is not None:
            _check_values(reading, target_url.get_dialect()(), replace_nul=options.replace_nul)
        copies = None
        if options.storage is not None:
            with Session(reading, join_transaction_mode="create_savepoint") as session:
                copies = FileCopies(session, settings, target_settings, options)
        if target_url is not None:
            target = held.enter_context(closing(prepared_target(target_url)))
            refusal = "A server or a worker uses the target, or the target is what you want to move."
            _claim(held, target, f"{refusal} {another(target_url, options)}")
        files = None
        if copies is not None:
            with progress("Moving score files") as show:
                files = copies.copy(show)
        if target is None:
            return Moved(files=files)
        with progress("Moving rows"), target.writer.begin() as writing:
            return _copy(
                reading, writing, copies.target if copies else open_storage(settings), settings, options, files
            )


def _data_folders(settings: Settings, target: Settings, *urls: URL | None) -> list[Path]:
    """Return the data folder of the settings, and any other data folder in which an SQLite file or a folder of files is."""
    paths = [Path(str(url.database)) for url in urls if url is not None and url.get_backend_name() == "sqlite"]
    paths += [each.storage_dir for each in (settings, target) if each.bucket is None]
    others = {path.parent.resolve() for path in paths if (path.parent / "server.lock").exists()}
    return [settings.data_dir.absolute(), *sorted(others - {settings.data_dir.resolve()})]


def _lock(held: ExitStack, folder: Path) -> None:
    """Keep servers from using a data folder; raise MoveError if one does."""
    try:
        held.enter_context(data_lock.lock_file(folder / "server.lock"))
    except Timeout:
        raise MoveError(
            f"A server or a worker uses the data folder {folder}. Stop all servers and workers, then repeat the command."
        ) from None


def _copy(
    reading: Connection,
    writing: Connection,
    storage: Storage,
    settings: Settings,
    options: MoveOptions,
    files: Copied | None,
) -> Moved:
    """Copy all rows; raise an exception unless the target is as consistent with the files as the source."""
    check_empty(writing, options)
    unknown = copying.unknown_columns(reading)
    if forgotten := {*unknown} & {*copying.unknown_columns(writing)}:
        raise CopyError(f"This release has no model of {', '.join(sorted(forgotten))}. Nothing was saved.")
    rows = copying.copy_rows(reading, writing, replace_nul=options.replace_nul)
    faults, arrived = (_faults(each, storage, settings.benchmarks_dir) for each in (reading, writing))
    if new := [message for message in arrived if message not in faults]:
        raise CopyError(f"The target does not agree with the files: {new[0]}. Nothing was saved.")
    return Moved(rows, unknown, faults, files)


def _faults(connection: Connection, storage: Storage, benchmarks: Path) -> list[str]:
    """Return what `doctor --quick` finds in a database."""
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        return [finding.message for finding in consistency.inspect(session, storage, benchmarks, quick=True)]


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


def _check_different(settings: Settings, target: Settings, target_url: URL | None, options: MoveOptions) -> None:
    """Raise MoveError if a target is what is to be moved. The operator may have set its address too early."""
    default = settings.model_copy(update={"database_url": "", "storage_url": ""})
    source_url, default_url = (database_url(each.resolved_database_url) for each in (settings, default))
    early = {}
    if target_url is not None and is_same(source_url, target_url):
        if not settings.database_url or not exists(default_url):
            raise MoveError(f"--database names the database that is to be moved. {another(target_url, options)}")
        early["database"] = "LDSBOARD_DATABASE_URL"
    if options.storage is not None and _is_same_place(settings, target):
        if not settings.storage_url or _is_same_place(settings, default) or not default.storage_dir.exists():
            raise MoveError("--storage names the place of the files that are to be moved, or a folder within it.")
        early["storage"] = "LDSBOARD_STORAGE_URL"
    if early:
        names = tuple(early.values())
        command = options.command(**{option: f'"${name}"' for option, name in early.items()}, unset=names)
        raise MoveError(
            f"{' and '.join(names)} {'names' if len(names) == 1 else 'name'} the target, and must name what is to be moved. "
            f"To move what is in the data folder: {command}"
        )


def _is_same_place(one: Settings, other: Settings) -> bool:
    """Return whether two settings name one bucket and prefix, or folders one of which contains the other."""
    if one.bucket is not None or other.bucket is not None:
        return one.bucket == other.bucket
    first, second = one.storage_dir.resolve(), other.storage_dir.resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)
