"""Files of one method that are declared as fitted to the ranking subsets, and files that are not: entries, pins, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.accounts import users
from app.benchmarks import catalog
from app.db.models import Kind, Submission
from app.leaderboard.entries import find_listed_or_same, find_public_entry, list_entries
from app.leaderboard.ranking import is_ranked, update_ranks
from app.management.editing import edit
from app.results.method_history import Wanted, method_history
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.commits import add_commit
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.results.schemas import HistoryView
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

pytestmark = pytest.mark.database


class Board:
    """The open toy benchmark in an open transaction, to which one owner sends files of one method."""

    def __init__(self, session: Session, version: Version) -> None:
        self.session, self.version = session, version
        self.owner = users.add_user(session, "ada")

    def add(self, lds: float, day: int, *, fitted: bool = False) -> Submission:
        submission = factories.add_entry(self.session, self.version, self.owner, "trak", lds, day)
        submission.uses_subsets = fitted
        return submission

    def listed(self) -> list[str]:
        update_ranks(self.session, self.version)
        return [entry.id for entry in list_entries(self.session, self.version)]

    def add_commit(self, lds: float, hour: float, *, fitted: bool = False, **fields: Any) -> str:
        return add_commit(
            self.session, self.version, lds, hour=hour, seed=int(hour), uses_subsets=fitted, kind=Kind.RANKED, **fields
        )

    def history(self, **wanted: Any) -> HistoryView:
        return method_history(self.session, self.version, None, Wanted("ada", "trak", **wanted))


@pytest.fixture
def board(harness: ServiceHarness, open_toy: Example) -> Iterator[Board]:
    harness.publish(open_toy.folder)
    with harness.database.write() as session:
        yield Board(session, catalog.find_version(session, "open-toy"))


def test_declared_file_replaces_only_the_declared_entry(board: Board) -> None:
    honest = board.add(0.3, 0)
    assert board.listed() == [honest.id]
    declared = board.add(0.9, 1, fitted=True)
    assert not is_ranked(board.session, board.version)
    assert board.listed() == [honest.id, declared.id]
    assert is_ranked(board.session, board.version)
    newer = board.add(0.8, 2, fitted=True)
    assert board.listed() == [honest.id, newer.id]
    newest = board.add(0.2, 3)
    assert board.listed() == [newest.id, newer.id]


def test_pins_of_declared_files_and_of_other_files_are_separate(board: Board) -> None:
    honest, declared = board.add(0.3, 0), board.add(0.9, 1, fitted=True)
    board.add(0.2, 2)
    board.add(0.8, 3, fitted=True)
    edit(board.session, honest, {"pinned": True})
    edit(board.session, declared, {"pinned": True})
    assert (honest.pinned, declared.pinned) == (True, True)
    assert board.listed() == [honest.id, declared.id]
    # A declaration makes the pinned file the entry of the declared files, and ends their other pin.
    edit(board.session, honest, {"uses_subsets": True})
    assert (honest.pinned, declared.pinned) == (True, False)
    assert board.listed()[1] == honest.id


def test_one_edit_can_move_a_pinned_file_past_another_pin(board: Board) -> None:
    # Each edit, applied field by field, would give the method two anonymous pins for a moment.
    alias, declared, other = board.add(0.3, 0), board.add(0.3, 1), board.add(0.3, 2)
    edit(board.session, alias, {"visibility": "anonymous", "pinned": True})
    edit(board.session, declared, {"pinned": True})
    edit(board.session, declared, {"visibility": "anonymous", "uses_subsets": True})
    assert (alias.pinned, declared.pinned) == (True, True)
    edit(board.session, other, {"pinned": True})
    edit(board.session, other, {"visibility": "anonymous", "pinned": False})
    assert (alias.pinned, other.pinned) == (True, False)


def test_an_address_of_a_method_leads_to_the_entry_that_is_not_declared(board: Board) -> None:
    older, declared = board.add(0.9, 0, fitted=True), board.add(0.9, 1, fitted=True)
    replaced, honest = board.add(0.3, 2), board.add(0.3, 3)
    board.add(0.9, 4, fitted=True)
    newest = board.listed()[1]
    found = find_public_entry(board.session, board.version.benchmark, "ada", "trak")
    assert found is not None
    assert found.id == honest.id
    assert {find_listed_or_same(board.session, file).id for file in (older, declared)} == {newest}
    assert {find_listed_or_same(board.session, file).id for file in (replaced, honest)} == {honest.id}


def test_baseline_of_a_history_is_not_declared_if_any_row_is_not(board: Board) -> None:
    first_declared = board.add_commit(0.9, 0, fitted=True)
    oldest = board.add_commit(0.3, 1)
    latest = board.add_commit(0.2, 2)
    last_declared = board.add_commit(0.8, 3, fitted=True)
    view = board.history(kind=Kind.RANKED)
    assert (view.baseline, view.baseline_listed) == (oldest, False)
    assert [(row.id, row.uses_subsets, row.difference is None, row.marked) for row in view.rows] == [
        (last_declared, True, True, False),
        (latest, False, False, True),
        (oldest, False, True, False),
        (first_declared, True, True, False),
    ]
    update_ranks(board.session, board.version)
    view = board.history(kind=Kind.RANKED)
    assert (view.baseline, view.baseline_listed) == (latest, True)
    assert [row.difference is None for row in view.rows] == [True, True, False, True]


def test_history_of_declared_files_alone_has_a_declared_baseline(board: Board) -> None:
    other = board.add_commit(0.3, 0)
    oldest = board.add_commit(0.9, 1, fitted=True, origins=({"branch": "ridge"},))
    listed = board.add_commit(0.8, 2, fitted=True)
    view = board.history(branch="ridge")
    assert (view.baseline, view.baseline_listed, [row.id for row in view.rows]) == (oldest, False, [oldest])
    update_ranks(board.session, board.version)
    view = board.history(branch="ridge")
    assert (view.baseline, view.baseline_listed) == (listed, True)
    assert view.rows[0].difference is not None
    empty = board.history(branch="unknown")
    assert (empty.baseline, empty.rows) == (other, [])


def test_pages_tell_declared_files_of_a_method_from_others(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "twins", split="open")
    service.publish(example.folder)
    token = service.token("twin")
    honest, declared = (
        service.submit_and_score(token, "twins", npy(example.scores(noise)), method="trak", uses_subsets=fitted)["id"]
        for noise, fitted in ((1.0, "false"), (0.1, "true"))
    )

    def page(path: str) -> str:
        return " ".join(service.client.get(service.url + path).text.split())

    history = page("/benchmarks/twins/methods/twin/trak")
    rows = {row[:16]: row.partition("</tr>")[0] for row in history.split('<tr data-id="')[1:]}
    assert ["data-apart" in rows[name] for name in (honest, declared)] == [False, True]
    assert ["declared: fitted to the ranking subsets" in rows[name] for name in (honest, declared)] == [False, True]
    assert "A hollow point is a file that is declared as fitted" in history
    compared = page(f"/compare?a={honest}&b={declared}")
    assert f"trak ({honest[:6]}) and trak ({declared[:6]}) compared" in compared
    assert f"Declared as fitted to these subsets: trak ({declared[:6]})" in compared
    assert "one for each owner and method, and one for declared files" in page("/benchmarks/twins")
