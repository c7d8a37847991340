"""An installation without a server, whose score files and upload parts move between folders and buckets."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from sqlalchemy import delete
from typer.testing import CliRunner

from app.__main__ import cli
from app.accounts import users
from app.db.models import Benchmark, File, State, Submission, Version
from app.db.sessions import Database
from app.db.uploads import UploadPart
from app.settings import Settings
from app.submissions import multipart
from app.submissions.opened_storage import open_storage
from tests.app.multipart_upload import read_parts
from tests.app.service import ROOT, variable

if TYPE_CHECKING:
    from typer.testing import Result

    from app.submissions.storage import Storage
    from tests.openstack_swift import Swift

PARTS = [b"first part", b"last part!"]
"""The received parts of the open upload, of which a third one is missing."""


class Installation:
    """A database with rows of score files and of an open upload, and their files; another place is named by `place`."""

    def __init__(self, folder: Path, migrated: Path, swift: Swift, source: str = "folder") -> None:
        self.folder, self.swift = folder, swift
        (folder / "data").mkdir()
        self.url = f"sqlite:///{copy(migrated, folder / 'data/ldsboard.sqlite3')}"
        self.upload = ""
        self.source = self.settings(self.place("source") if source == "bucket" else "")
        self.contents: dict[str, bytes] = {}

    def place(self, name: str, kind: str = "bucket") -> str:
        """Return the address of a place of files that no other test uses."""
        return f"s3://scores/{self.folder.name}/{name}" if kind == "bucket" else str(self.folder / name)

    def settings(self, storage_url: str) -> Settings:
        """Return the settings of a server that keeps its files elsewhere."""
        stored = self.swift.settings("") | {"storage_url": storage_url}
        return Settings(data_dir=self.folder / "data", database_url=self.url, **stored)

    def fill(self, *contents: bytes) -> None:
        """Add score files with these contents, and an open upload."""
        storage = open_storage(self.source)
        with closing(Database(self.url)) as database, database.write() as session:
            for content in contents:
                with storage.receive() as arrival:
                    arrival.write(content)
                    arrival.flush()
                    storage.keep(arrival)
                    session.add(File(sha256=arrival.sha256, size=arrival.size, references=1))
                self.contents[arrival.sha256] = content
            session.add(Benchmark(name="toy", current_version=1))
            session.flush()
            user = users.add_user(session, "ada")
            session.add(Version(benchmark_id=1, version=1, manifest={"split": "protected"}, scorer_version=0))
            session.flush()
            state, size = State.UPLOADING, 3 * len(PARTS[0])
            submission = Submission(
                user_id=user.id, version_id=1, kind="ranked", method="m", title="", size=size, state=state
            )
            session.add(submission)
            session.flush()
            multipart.open_upload(session, submission, "0" * 64, len(PARTS[0]), timedelta(days=1))
            self.upload = submission.id
            for number, content in enumerate(PARTS):
                with storage.receive() as arrival:
                    arrival.write(content)
                    arrival.flush()
                    storage.keep_part(submission.id, number, arrival)
                    session.add(UploadPart(submission_id=submission.id, number=number, sha256=arrival.sha256))

    def forget_files(self) -> None:
        """Delete the rows of the score files."""
        with closing(Database(self.url)) as database, database.write() as session:
            session.execute(delete(File))

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the variables of the source's settings, some of them with other values."""
        named = {
            variable(name): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.source.model_dump(exclude_unset=True).items()
        }
        return named | changes

    def move(self, *options: str, **changes: str) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(cli, ["move", *options], env=self.environment(**changes), catch_exceptions=False)

    def moved(self, *options: str) -> str:
        """Run the command, which must succeed, and return what it prints."""
        done = self.move(*options)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return done.stdout

    def refusal(self, *options: str, **changes: str) -> str:
        """Return the error of a move that is refused, without line breaks."""
        done = self.move(*options, **changes)
        assert (done.exit_code, "Moved" in done.stdout) == (2, False), (
            done.output
        )  # without `main`, logs are there, too
        return " ".join(done.stderr.split("Error: ", 1)[1].split())

    def paste(self, command: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run a printed command in a shell, with the source's settings."""
        environment = os.environ | self.environment(**changes)
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
        return subprocess.run(
            ["/bin/bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    def assert_complete(self, place: str, lacking: tuple[str, ...] = ()) -> None:
        """Assert that a place has the score files of all rows, except those that are lacking, the upload parts, and no more."""
        storage = open_storage(self.settings(place))
        found = {sha256: read(storage, storage.key(sha256)) for sha256 in self.contents if sha256 not in lacking}
        assert found == {sha256: content for sha256, content in self.contents.items() if sha256 not in lacking}
        assert sorted(storage.stored_hashes()) == sorted(found)
        assert storage.upload_ids() == [self.upload]
        hashes = [hashlib.sha256(content).hexdigest() for content in PARTS]
        assert read_parts(storage, self.upload, hashes) == b"".join(PARTS)

    def put(self, place: str, sha256: str, content: bytes) -> None:
        """Store other bytes under the key of a score file."""
        storage = open_storage(self.settings(place))
        storage.write(storage.key(sha256), iter([content]), len(content))


def read(storage: Storage, key: str) -> bytes:
    """Return the bytes of a stored file."""
    return b"".join(storage.read(key))


def hinted(message: str) -> str:
    """Return the command at the end of a message."""
    return message.rsplit(": ", 1)[1]


def state(folder: Path) -> dict[str, Any]:
    """Return the content and the time of the last change of every file in a folder, except lock files and the database."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
