"""A board with an anonymous entry and the folder of its snapshots, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import users
from app.db.models import Submission, Version, Visibility
from app.leaderboard.ranking import Ranker, note_change
from app.leaderboard.views import leaderboard_view
from app.management import snapshots
from app.management.consistency import inspect_snapshots
from app.submissions.visibility import set_visibility
from tests.app.benchmarks import publish
from tests.app.factories import add_entries, add_entry

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from app.db.sessions import Database
    from app.management.snapshots import Taken
    from tests.app.benchmarks import Example

URL = "https://board.example.org"
DAY = "2026-11-28"


class Archive:
    """A board of twelve entries, one of them anonymous, and the folder of its snapshots; `today` is the day of the clock."""

    def __init__(self, database: Database, folder: Path, toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.root = database, folder / "snapshots"
        self.today = datetime(2026, 11, 28, 23, 59, tzinfo=UTC)
        monkeypatch.setattr(snapshots, "now", lambda: self.today)
        publish(database, folder / "benchmarks", toy.folder)
        with database.write() as session:
            version = session.scalars(select(Version)).one()
            add_entries(session, version, 12)
            anonymous = session.scalars(select(Submission).order_by(Submission.method).limit(1)).one()
            anonymous.title = "Only the owner knows this title"
            users.add_user(session, "late")
            set_visibility(session, anonymous, Visibility.ANONYMOUS)
            note_change(session, version)
        self.anonymous = anonymous

    def take(self) -> Taken:
        return snapshots.take(self.database, self.root, URL, "toy")

    def send(self, lds: float = 0.99) -> None:
        """Add an entry to the board."""
        with self.database.write() as session:
            version = session.scalars(select(Version)).one()
            add_entry(session, version, users.add_user(session, "late"), "late", lds, day=400)
            note_change(session, version)
        Ranker(self.database).renew_all()

    def board(self) -> str:
        """Return the JSON of the board that everybody can read."""
        with self.database.read() as session:
            return leaderboard_view(session, session.scalars(select(Version)).one()).model_dump_json()

    def findings(self, *, quick: bool = False) -> list[str]:
        return [finding.message for finding in inspect_snapshots(self.root, quick=quick)]


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
