"""Files that are declared as fitted to the ranking subsets, on a benchmark with a practice version and a protected version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.accounts import users
from app.benchmarks import catalog
from app.db.base import now
from app.db.models import Evaluation, Measurement
from app.leaderboard.entries import find_listed_or_same, find_public_entry, list_entries
from app.leaderboard.ranking import update_ranks
from app.management.editing import edit
from app.results.submission_views import submission_view
from ldsboard.core.result import SCORER_VERSION
from tests.app import factories
from tests.app.benchmarks import write_benchmark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.models import Submission, Version
    from tests.app.harness import ServiceHarness


class Boards:
    """A practice version and the protected version that replaced it, to which one owner has sent files of one method."""

    def __init__(self, session: Session, practice: Version, protected: Version) -> None:
        self.session, self.practice, self.protected = session, practice, protected
        self.owner = users.add_user(session, "ada")

    def add(self, lds: float, day: int, *, fitted: bool = False) -> Submission:
        """Add a file that was sent to the practice version and scored again for the protected version."""
        submission = factories.add_entry(self.session, self.practice, self.owner, "trak", lds, day)
        submission.uses_subsets = fitted
        self.session.refresh(submission, ["evaluations"])
        (first,) = submission.evaluations
        again = Evaluation(version_id=self.protected.id, scorer_version=SCORER_VERSION, scored_at=now())
        for measured in first.measurements:
            columns = {column.key: getattr(measured, column.key) for column in Measurement.__table__.columns}
            again.measurements.append(Measurement(**{**columns, "evaluation_id": None}))
        submission.evaluations.append(again)
        self.session.flush()
        return submission

    def listed(self) -> tuple[list[str], list[str]]:
        """Rank both boards; return the ids of the entries of the practice board and of the protected board."""
        for version in (self.practice, self.protected):
            update_ranks(self.session, version)
        practice, protected = (list_entries(self.session, version) for version in (self.practice, self.protected))
        return [entry.id for entry in practice], [entry.id for entry in protected]


@pytest.fixture
def boards(harness: ServiceHarness, tmp_path: Path) -> Iterator[Boards]:
    harness.publish(write_benchmark(tmp_path / "practice", "pair", split="open").folder)
    harness.publish(write_benchmark(tmp_path / "protected", "pair", version=2).folder)
    with harness.database.write() as session:
        yield Boards(session, *(catalog.find_version(session, "pair", number) for number in (1, 2)))


def test_pin_holds_on_a_protected_board_whatever_the_declarations(boards: Boards) -> None:
    honest, declared = boards.add(0.3, 0), boards.add(0.9, 1, fitted=True)
    boards.add(0.2, 2)
    for chosen in (declared, honest):
        edit(boards.session, chosen, {"pinned": True})
        assert boards.listed()[1] == [chosen.id]


def test_badge_shows_the_entry_of_the_board_that_its_page_shows(boards: Boards) -> None:
    files = [boards.add(0.3, 0), boards.add(0.3, 1), boards.add(0.9, 2, fitted=True)]
    assert boards.listed() == ([files[1].id, files[2].id], [files[2].id])
    assert {find_listed_or_same(boards.session, file).id for file in files} == {files[2].id}
    later = factories.add_entry(boards.session, boards.protected, boards.owner, "trak", 0.35, 3)
    assert boards.listed()[1] == [later.id]
    for file in (*files, later):
        shown = find_listed_or_same(boards.session, file)
        assert shown.id == later.id
        hidden = submission_view(boards.session, shown).hidden
        assert hidden is not None
        assert hidden.listed
    found = find_public_entry(boards.session, boards.practice.benchmark, "ada", "trak")
    assert found is not None
    assert found.id == later.id
