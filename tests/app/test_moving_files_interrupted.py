"""A move of files and rows that is killed, or whose store goes away, is repeated and then complete."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from app.db.sessions import Database
from app.submissions.folder_storage import FolderStorage
from app.submissions.opened_storage import open_storage
from app.submissions.s3_storage import S3Storage
from tests.app.moving import dump, is_empty
from tests.app.moving_files import Installation, state
from tests.app.service import PATIENCE_SECONDS, ROOT, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.submissions.storage import Storage
    from tests.openstack_swift import Swift
    from tests.postgresql import Cluster

CONTENTS = [b"", b"scores", *(bytes([number]) * ((5 << 20) + 1) for number in range(3))]

KILLED = """
import os, signal
from app.management import file_copies
from app.submissions import folder_storage, s3_storage

file_copies.COPIERS = 1
left, moment = int(os.environ["LEFT"]), os.environ["MOMENT"]

def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(function):
    def call(*arguments, **options):
        count()
        return function(*arguments, **options)
    return call

if moment == "write":
    for each in (folder_storage.FolderStorage, s3_storage.S3Storage):
        each.write = counted(each.write)
elif moment == "chunk":
    reading = file_copies.read_verified
    file_copies.read_verified = lambda *arguments: (count() or chunk for chunk in reading(*arguments))
elif moment == "rename":
    from app.submissions.arrivals import Arrival
    Arrival.keep = counted(Arrival.keep)
elif moment == "rows":
    from app.db import copying
    copying.copy_rows = counted(copying.copy_rows)
else:
    from sqlalchemy import Engine, event
    copying_rows = []
    from app.db import copying
    copy_rows = copying.copy_rows
    copying.copy_rows = lambda *arguments, **options: (copy_rows(*arguments, **options), copying_rows.append(1))[0]
    @event.listens_for(Engine, "commit")
    def commit(connection):
        if copying_rows:
            count()

from app.__main__ import main
main()
"""
"""Runs a command with one copier, and kills it at a moment: before a file is written, before one of its chunks is sent, before
a file in a folder gets its name, before the rows are copied, or before they are committed."""

MOMENTS = {
    "folder": [("write", 4), ("chunk", 2), ("rows", 1), ("commit", 1)],
    "bucket": [("write", 1), ("chunk", 5), ("rename", 3), ("commit", 1)],
}
"""When a move is killed, by where its files come from: at which of the calls of a step."""


@pytest.fixture(params=["folder", "bucket"])
def source(request: pytest.FixtureRequest) -> str:
    """The kind of the place from which files are moved."""
    return str(request.param)


@pytest.fixture
def installation(source: str, tmp_path: Path, migrated: Path, swift: Swift) -> Iterator[Installation]:
    """An installation whose files are in a folder, or in a bucket."""
    found = Installation(tmp_path, migrated, swift, source)
    found.fill(*CONTENTS)
    yield found
    swift.start()


def other(installation: Installation) -> str:
    """Return a place of the other kind."""
    return installation.place("target", "folder" if installation.source.bucket else "bucket")


def wait_for_locks(url: str) -> None:
    """Wait until PostgreSQL has noticed that the killed process is gone."""
    here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    held = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND {here}"  # noqa: S608 -- a literal
    with closing(Database(url)) as database, database.engine.connect() as connection:
        until(lambda: connection.exec_driver_sql(held).first() is None, "no connection of the killed process")


@pytest.mark.parametrize(
    ("source", "moment", "left"), [(kind, *moment) for kind, moments in MOMENTS.items() for moment in moments]
)
def test_killed_move_is_repeated_and_nothing_is_lost(
    installation: Installation, cluster: Cluster, source: str, moment: str, left: int
) -> None:
    place, database = other(installation), cluster.create()
    rows, before = dump(installation.url), state(installation.folder / "data")
    options = ["move", "--storage", place, "--database", database]
    environment = os.environ | installation.environment() | {"MOMENT": moment, "LEFT": str(left)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, ""), killed.stderr
    assert is_empty(database)
    assert dump(installation.url) == rows
    assert state(installation.folder / "data") == before
    installation.assert_complete(installation.source.storage_url)
    arrived = open_storage(installation.settings(place)).sizes(installation.contents.keys())
    assert arrived == {sha256: len(installation.contents[sha256]) for sha256 in arrived}
    wait_for_locks(database)
    printed = installation.moved(*options[1:])
    installation.assert_complete(place)
    assert dump(database) == rows
    if moment in {"rows", "commit"}:
        assert "Moved 0 files of 0 bytes, and compared every SHA-256. 7 files were there already." in printed
    if source == "bucket":
        assert list((installation.folder / "target/arriving").iterdir()) == [
            installation.folder / "target/arriving" / installation.upload
        ]


def test_store_that_goes_away_meanwhile_is_named_and_the_move_is_repeated(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, left = other(installation), [3]

    def kill_later(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                installation.swift.kill()
            return function(*arguments)

        return call

    with monkeypatch.context() as patched:
        name = "read" if installation.source.bucket else "write"
        patched.setattr(S3Storage, name, kill_later(getattr(S3Storage, name)))
        patched.setattr("app.management.file_copies.COPIERS", 1)
        done = installation.move("--storage", place)
        assert done.exit_code == 2
    assert "The store of score files is out of reach (no answer)." in done.stderr
    assert "Repeat the command when the store is back." in done.stderr
    installation.swift.start()
    assert "were there already" in installation.moved("--storage", place)
    installation.assert_complete(place)
    installation.assert_complete(installation.source.storage_url)


def test_object_that_the_store_cuts_or_loses_is_noticed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = installation.place("target", "bucket")
    write = S3Storage.write
    monkeypatch.setattr(S3Storage, "write", lambda storage, key, *_: write(storage, key, iter([bytes(17)]), 17))
    message = installation.refusal("--storage", place)
    assert "The target holds 17 bytes of " in message
    monkeypatch.undo()
    installation.moved("--storage", place)
    installation.assert_complete(place)


def test_interrupted_move_ends_at_once_and_is_repeated(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, small, ended = other(installation), hashlib.sha256(b"scores").hexdigest(), []

    def read(_storage: Storage, key: str) -> Iterator[bytes]:
        if small in key:
            raise KeyboardInterrupt
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while time.monotonic() < deadline:
                yield b""
        except GeneratorExit:
            ended.append(key)
            raise

    with monkeypatch.context() as patched:
        for storage in (FolderStorage, S3Storage):
            patched.setattr(storage, "read", read)
        assert installation.move("--storage", place).exit_code == 130
    assert ended
    assert open_storage(installation.settings(place)).stored_hashes() == []
    installation.moved("--storage", place)
    installation.assert_complete(place)
