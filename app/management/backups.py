"""Copy an installation to a folder, while its servers and workers run.

Nothing of an earlier backup is deleted or replaced before the new one is known to be of the same installation, not of an earlier
state, and without faults; with faults, only files are added, and the rows replaced.

The copy is a data folder: the rows of one moment in an SQLite file, the score files to which these rows refer, and the other
files of the installation's data folder. Servers can use it, and `app.management.moving` moves it to PostgreSQL and a bucket.
"""

from __future__ import annotations

import shlex
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout
from sqlalchemy import URL, select
from sqlalchemy.exc import DBAPIError

from app import data_lock
from app.counterfactual.runner import PARTS
from app.db import copying
from app.db.accounts import Audit
from app.db.base import now
from app.db.migration import revision, revisions, upgrade
from app.db.models import File
from app.db.sessions import Database
from app.errors import DamagedFileError, StorageAwayError
from app.leaderboard.ranking import Ranker
from app.management import consistency
from app.management.installation import shown
from app.management.mirrors import mirror, remove
from app.management.stored_items import read_verified, stored_items
from app.submissions import lifecycle, multipart
from app.submissions.folder_storage import FolderStorage
from app.submissions.opened_storage import open_storage
from ldsboard.drafts import sync_folder
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from app.management.stored_items import Item
    from app.settings import Settings
    from app.submissions.storage import Storage

DATABASE, DRAFT, FILES, LOCK = "ldsboard.sqlite3", "ldsboard.sqlite3.new", "files", "server.lock"
"""Names in the folder of a backup; a draft of the database is renamed when everything else is there."""

ATTEMPTS = 5
"""Largest number of times that the rows are copied because score files were deleted before they could be copied."""

COPIERS = 4
"""Number of score files that are copied at the same time."""

AUDIT_KEPT = timedelta(days=365)
"""Time for which a trigger refuses to delete a row of the audit log."""


class BackupError(RuntimeError):
    """There is no new backup; the message says why. A backup that was in the folder before is still there."""


@dataclass(frozen=True)
class BackedUp:
    """How many score files and bytes were copied, how many were in the folder already, and the faults of the installation.

    If there are faults, the folder keeps all files of an earlier backup.
    """

    files: int
    size: int
    kept: int
    faults: list[str]


def back_up(settings: Settings, database: Database, folder: Path, show: Callable[[float], object] | None) -> BackedUp:
    """Copy an installation to a folder; what an earlier backup has left there is used again.

    Uploads that are open have expired in the copy: their clients send them again.

    Parameters
    ----------
    folder
        A folder that does not exist, is empty, or holds a backup.
    show
        Function to call with the fraction of the score files that is done.

    Raises
    ------
    BackupError
        The folder holds something else, a backup of something else, or is in use; score files are being deleted all the time; or
        a later release has migrated the database: this release would leave out what it does not know.
    CopyError
        The copied rows differ from the installation's.
    StorageAwayError
        The store of the score files is out of reach.
    """
    folder = folder.absolute()
    with database.engine.connect() as connection:
        if (found := revision(connection)) not in revisions():
            raise BackupError(f"The database has schema {found} of a later release. Make the backup with that release.")
    check_folder(settings, folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        lock = data_lock.lock_file(folder / LOCK)
    except Timeout:
        raise BackupError(f"A server, a worker or another backup uses the folder {folder}.") from None
    with lock:
        _check_earlier(database, folder)
        source, target = open_storage(settings), FolderStorage(folder / FILES)
        target.delete_incomplete()
        for _ in range(ATTEMPTS):
            _copy_database(database, folder / DRAFT)
            with closing(Database(_address(folder / DRAFT))) as copy:
                _expire_uploads(copy)
                copied = _copy_files(copy, source, target, show)
                if _deleted_since(database, copied.lost):
                    continue
                faults = copied.damaged + _find_faults(copy, target, settings.benchmarks_dir)
                _copy_other_files(settings, database, folder, only_add=bool(faults))
                if not faults:
                    _delete_files(copy, target)
            (folder / DRAFT).replace(folder / DATABASE)
            sync_folder(folder)
            return BackedUp(len(copied.sent), sum(copied.sent), copied.kept, faults)
    raise BackupError("Score files were deleted while they were copied, several times. Repeat the command.")


def check_folder(settings: Settings, folder: Path) -> None:
    """Raise BackupError unless a folder can hold a backup of an installation."""
    folder = folder.absolute()
    if not folder.parent.is_dir():
        raise BackupError(f"There is no folder {folder.parent}. Create it: mkdir -p {shlex.quote(str(folder.parent))}")
    used = [settings.data_dir.resolve()] + ([] if settings.bucket else [settings.storage_dir.resolve()])
    if any(folder.resolve().is_relative_to(each) or each.is_relative_to(folder.resolve()) for each in used):
        raise BackupError(f"The folder {folder} is a part of the installation, or holds it. Name another folder.")
    if folder.exists() and not folder.is_dir():
        raise BackupError(f"{folder} is a file. Name a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise BackupError(f"The folder {folder} holds other files than a backup. Name an empty or a new folder.")


def _check_earlier(database: Database, folder: Path) -> None:
    """Raise BackupError if the folder holds a backup of another installation, or of a later state of this one.

    Rows of the audit log never change, and are kept for more than a year. The installation therefore has the newest row of every
    earlier backup, unless that is very old.
    """
    if not (folder / DATABASE).exists():
        return
    columns = Audit.id, Audit.at, Audit.action, Audit.subject
    try:
        with closing(Database(_address(folder / DATABASE))) as earlier, earlier.read() as session:
            newest = session.execute(select(*columns).order_by(Audit.id.desc()).limit(1)).one_or_none()
    except DBAPIError as error:
        raise BackupError(
            f"The backup in the folder {folder} cannot be read: {error.orig} Name an empty or a new folder."
        ) from None
    if newest is None or newest.at < now() - AUDIT_KEPT:
        return
    with database.read() as session:
        found = session.execute(select(*columns).where(Audit.id == newest.id)).one_or_none()
    if found != newest:
        raise BackupError(
            f"The folder {folder} holds a backup of another installation, or of a later state of this one: its audit log has a "
            f"row of {newest.at:%Y-%m-%d %H:%M} that the database {shown(database.engine.url)} lacks. Name an empty or a new "
            "folder, or set LDSBOARD_DATA_DIR and LDSBOARD_DATABASE_URL as for the server."
        )


def _address(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _copy_database(database: Database, draft: Path) -> None:
    """Copy all rows, as of one moment, into a new SQLite file; writers go on meanwhile."""
    for path in (draft, *(draft.with_name(draft.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    # The database holds hidden results at full precision, so only the server's own user may read the file.
    draft.touch(mode=0o600)
    url = database.engine.url
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database))) as connection:
            connection.execute("VACUUM INTO ?", (str(draft),))
        return
    upgrade(_address(draft))
    with (
        closing(Database(_address(draft))) as copy,
        database.engine.connect() as reading,
        copy.writer.begin() as writing,
    ):
        copying.copy_rows(reading, writing)


def _expire_uploads(copy: Database) -> None:
    """Expire the open uploads: their parts come and go while the files are copied."""
    with copy.write() as session:
        for upload in multipart.open_upload_ids(session):
            multipart.cancel(session, upload, "open when the backup was made")
        lifecycle.expire_single_uploads(session)


@dataclass(frozen=True)
class _Copied:
    """The sizes of the files that were copied, how many were there already, the SHA-256 of lost ones, and damaged ones."""

    sent: list[int]
    kept: int
    lost: list[str]
    damaged: list[str]


def _copy_files(
    copy: Database, source: Storage, target: FolderStorage, show: Callable[[float], object] | None
) -> _Copied:
    """Copy the score files of all rows that the target lacks."""
    with copy.read() as session:
        items = stored_items(session, source, target)
    done, total = 0, sum(item.size for item in items) or 1
    sent, lost, damaged = [], [], []
    with ThreadPoolExecutor(COPIERS) as pool:
        for item, result in zip(items, pool.map(lambda item: _copy_file(item, source, target), items), strict=True):
            done += item.size
            if show is not None:
                show(done / total)
            if result == "sent":
                sent.append(item.size)
            elif result == "lost":
                lost.append(item.sha256)
            elif result == "damaged":
                damaged.append(f"{item.name} is damaged")
    return _Copied(sent, len(items) - len(sent) - len(lost) - len(damaged), lost, damaged)


def _copy_file(item: Item, source: Storage, target: FolderStorage) -> str:
    """Copy a file; return what became of it: ``sent``, ``kept``, ``lost`` or ``damaged``."""
    if target.size(item.target) == item.size:
        return "kept"
    try:
        target.write(item.target, read_verified(source, item, lambda _: None), item.size)
    except DamagedFileError as error:
        return str(error)
    except StorageAwayError:
        raise
    except ProblemError:
        raise BackupError(f"The disk of {target.folder} is full. Free space, then repeat the command.") from None
    return "sent"


def _deleted_since(database: Database, lost: Iterable[str]) -> bool:
    """Return whether the installation itself no longer knows one of the lost files."""
    with database.read() as session:
        known = set(session.scalars(select(File.sha256)))
    return not known.issuperset(lost)


def _copy_other_files(settings: Settings, database: Database, folder: Path, *, only_add: bool) -> None:
    """Make the rest of the backup equal to the rest of the data folder: benchmarks, snapshots, the key that signs cookies.

    With `only_add`, what is in the backup is kept.
    """
    url = database.engine.url
    left_out = {settings.data_dir / name for name in (LOCK, data_lock.ID_FILE, "arriving", FILES, PARTS)}
    left_out |= set() if settings.bucket else {settings.storage_dir}
    # With PostgreSQL, an old SQLite file can be in the data folder.
    files = [str(settings.data_dir / DATABASE), *([str(url.database)] if url.get_backend_name() == "sqlite" else [])]
    left_out |= {Path(file + end) for file in files for end in ("", "-wal", "-shm", "-journal")}
    left_out = {path.resolve() for path in left_out}
    kept = {folder / name for name in (LOCK, FILES, DATABASE, DRAFT, f"{DRAFT}-wal", f"{DRAFT}-shm")}
    for path in settings.data_dir.iterdir():
        if path.resolve() not in left_out and not path.name.startswith("."):
            mirror(path, folder / path.name, only_add=only_add)
            kept.add(folder / path.name)
    if not only_add:
        for path in set(folder.iterdir()) - kept:
            remove(path)


def _find_faults(copy: Database, target: FolderStorage, benchmarks: Path) -> list[str]:
    """Rank the boards of the copy; return what `doctor --quick` finds, except score files that no row of the copy knows."""
    Ranker(copy).renew_all()  # rows can be copied after a result is stored and before its board is ranked
    with copy.read() as session:
        findings = consistency.inspect(session, target, benchmarks, quick=True)
        return [finding.message for finding in findings if not finding.is_stray]


def _delete_files(copy: Database, target: FolderStorage) -> None:
    """Delete the score files that no row of the copy knows."""
    with copy.read() as session:
        target.delete_files(set(target.stored_hashes()) - set(session.scalars(select(File.sha256))))
