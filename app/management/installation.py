"""Whether the settings name an installation that exists. Commands ask before they open, and would create, its parts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.data_lock import folder_id
from app.database_url import database_url, without_password
from app.db.migration import revision
from app.db.presence import check_folder
from app.db.sessions import Database
from ldsboard.invocation import program

if TYPE_CHECKING:
    from sqlalchemy import URL

    from app.settings import Settings

HINT = f"to that of the installation, as for its server; to begin a new one, run: {program('python')} -m app migrate"


class NoInstallationError(RuntimeError):
    """The settings name no installation; the message says what is missing. Nothing was created."""


def check_installation(settings: Settings) -> None:
    """Raise NoInstallationError unless the places of the settings exist, and the database has tables of LDSBoard."""
    check_places(settings)
    # A server creates the folder that is not named when it starts, so this folder can be missing.
    if settings.storage_url and settings.bucket is None and not settings.storage_dir.is_dir():
        raise NoInstallationError(
            f"There is no folder {settings.storage_dir.absolute()} of score files. Set LDSBOARD_STORAGE_URL {HINT}"
        )
    url = database_url(settings.resolved_database_url)
    with closing(Database(settings.resolved_database_url)) as database, database.engine.connect() as connection:
        if revision(connection) is None:
            raise NoInstallationError(
                f"The database {shown(url)} holds no tables of LDSBoard. Set LDSBOARD_DATA_DIR or LDSBOARD_DATABASE_URL {HINT}"
            )


def check_places(settings: Settings) -> None:
    """Raise NoInstallationError unless the data folder exists, and the database if it is an SQLite file."""
    if not settings.data_dir.is_dir():
        raise NoInstallationError(
            f"There is no data folder {settings.data_dir.absolute()}. Set LDSBOARD_DATA_DIR {HINT}"
        )
    url = database_url(settings.resolved_database_url)
    if not exists(url):
        raise NoInstallationError(
            f"There is no database at {shown(url)}. Set LDSBOARD_DATA_DIR or LDSBOARD_DATABASE_URL {HINT}"
        )


def check_data_folder(settings: Settings) -> None:
    """Raise OtherFolderError if servers or workers use a PostgreSQL database with another data folder."""
    if database_url(settings.resolved_database_url).get_backend_name() == "sqlite":
        return
    number = folder_id(settings.data_dir, create=False)
    with closing(Database(settings.resolved_database_url)) as database, database.engine.connect() as connection:
        check_folder(connection, number)


def exists(url: URL) -> bool:
    """Return whether an SQLite file exists, without creating it. A PostgreSQL database shows that when it is opened."""
    return url.get_backend_name() != "sqlite" or Path(str(url.database)).is_file()


def shown(url: URL) -> str:
    """Return the path of an SQLite file, or the address of a PostgreSQL database without its password."""
    if url.get_backend_name() == "sqlite":
        return str(Path(str(url.database)).absolute())
    return without_password(url)
