"""Entries that are declared as fitted to the ranking subsets stand below the board, without rank."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from app.accounts import tokens, users
from app.benchmarks import catalog
from app.db.accounts import Role
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import update_ranks
from app.leaderboard.views import benchmark_view, leaderboard_view
from ldsboard import leaderboard
from ldsboard.cli import cli
from tests.app import factories
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy, until

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import pytest
    from sqlalchemy.orm import Session

    from app.db.models import Submission, Version
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service


def edit(service: Service, token: str, submission_id: str, **changes: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return service.client.patch(f"/submissions/{submission_id}", json=changes, headers=headers)


def page(service: Service, path: str) -> str:
    response = service.client.get(f"{service.url}{path}")
    assert response.status_code == 200
    return " ".join(response.text.split())


def add(session: Session, version: Version, owner: str, lds: float, day: int, *, fitted: bool = False) -> Submission:
    user = users.find_user(session, owner) if fitted else users.add_user(session, owner)
    submission = factories.add_entry(session, version, user, f"method-{day}", lds, day)
    submission.uses_subsets = fitted
    return submission


Places = dict[str, tuple[tuple[int, int] | None, bool | None, bool | None]]


def places(session: Session, version: Version) -> Places:
    rows = leaderboard_view(session, version).rows
    return {row.id: (row.rank, row.in_family, row.separable_from_first) for row in rows}


def test_declared_entries_change_no_other_place(harness: ServiceHarness, open_toy: Example) -> None:
    harness.publish(open_toy.folder)
    with harness.database.write() as session:
        version = catalog.find_version(session, "open-toy")
        for day in range(8):
            add(session, version, f"lab-{day}", 0.5 - 0.02 * day, day)
        update_ranks(session, version)
        before = places(session, version)
        best = benchmark_view(session, version).best
        declared = [add(session, version, "lab-0", 0.99, day, fitted=True) for day in range(20, 26)]
        update_ranks(session, version)
        after = places(session, version)
        assert list(after)[: len(before)] == list(before)
        assert {name: after[name] for name in before} == before
        assert {after[submission.id] for submission in declared} == {(None, None, None)}
        assert list(after)[len(before) :] == [
            submission.id for submission in declared
        ]  # of equal LDS, the earliest first
        assert benchmark_view(session, version).best == best
        # The declaration of the first entry moves it below the board, and the ranks close up.
        first = list_entries(session, version)[0]
        session.get_one(type(declared[0]), first.id).uses_subsets = True
        assert {place[2] for place in places(session, version).values()} == {None}  # until the board is ranked again
        update_ranks(session, version)
        closed = places(session, version)
        assert (closed[first.id], next(iter(closed.values()))[2]) == ((None, None, None), None)
        assert sum(place[0] is not None for place in closed.values()) == len(before) - 1
        assert max(place[0][1] for place in closed.values() if place[0]) == len(before) - 1


def test_board_of_declared_entries_has_neither_ranks_nor_a_best_entry(
    harness: ServiceHarness, open_toy: Example
) -> None:
    harness.publish(open_toy.folder)
    with harness.database.write() as session:
        version = catalog.find_version(session, "open-toy")
        users.add_user(session, "lab")
        for day in range(3):
            add(session, version, "lab", 0.9 - 0.2 * day, day, fitted=True)
        update_ranks(session, version)
        assert list(places(session, version).values()) == [(None, None, None)] * 3
        view = leaderboard_view(session, version)
        assert (view.all_users, benchmark_view(session, version).best) == (None, None)


def test_declaration_has_no_effect_on_hidden_subsets(harness: ServiceHarness) -> None:
    # A protected version can follow an open one, and scores the submissions of the open one again.
    with harness.database.write() as session:
        version = catalog.find_version(session, "toy")
        users.add_user(session, "lab")
        first = add(session, version, "lab", 0.9, 0, fitted=True)
        second = add(session, version, "other", 0.3, 1)
        update_ranks(session, version)
        assert places(session, version) == {first.id: ((1, 1), True, None), second.id: ((2, 2), True, True)}
        assert [row.uses_subsets for row in leaderboard_view(session, version).rows] == [False, False]


def test_declared_entry_in_every_answer(
    service: Service, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = write_benchmark(tmp_path, "declared", split="open")
    service.publish(example.folder)
    fitted = service.submit_and_score(token, "declared", npy(example.scores(0.1)), method="ridge", uses_subsets="true")
    honest = service.submit_and_score(token, "declared", npy(example.scores(1.0)), method="honest")
    service.submit_and_score(token, "declared", npy(example.scores(3.0)), method="weak")
    assert fitted["hidden"]["lds"] > honest["hidden"]["lds"]
    assert (fitted["uses_subsets"], honest["uses_subsets"]) == (True, False)

    view = service.client.get(f"/submissions/{fitted['id']}").json()
    assert [view["hidden"][name] for name in ("listed", "rank", "in_family")] == [True, None, None]
    hidden = service.client.get(f"/submissions/{honest['id']}").json()["hidden"]
    assert (hidden["rank"], hidden["in_family"]) == ([1, 1], True)
    rows = service.client.get("/benchmarks/declared/leaderboard").json()["rows"]
    assert [(row["method"], row["uses_subsets"]) for row in rows] == [
        ("honest", False),
        ("weak", False),
        ("ridge", True),
    ]
    assert service.client.get("/benchmarks/declared").json()["best"]["method"] == "honest"
    table = service.client.get("/benchmarks/declared/leaderboard", params={"format": "csv"}).text
    cells = [(row["method"], row["rank_low"], row["uses_subsets"]) for row in csv.DictReader(io.StringIO(table))]
    assert cells == [("honest", "1", "False"), ("weak", "2", "False"), ("ridge", "", "True")]

    for query in ("", "?sort=lds&order=asc", "?sort=date", "?q=ridge"):
        text = page(service, f"/benchmarks/declared{query}")
        board = text[text.index('<table id="board"') :]
        block = board.index("Declared: fitted to these subsets, so not ranked")
        assert block < board.index('data-method="ridge"')
        assert all(board.find(f'data-method="{method}"') < block for method in ("honest", "weak"))
        assert "<strong>honest</strong> by alice has the highest LDS, significantly above" in " ".join(text.split())
        assert "of every other entry that is not declared as fitted to these subsets." in text
        assert "without declared entries" in text
        assert "one for each owner and method, and one for declared files" in text
    own = page(service, fitted["links"]["page"])
    assert "Declared: fitted to these subsets." in own
    assert "declared: fitted to these subsets." in own
    assert "fitted to these subsets" not in page(service, honest["links"]["page"])
    compared = page(service, f"/compare?a={fitted['id']}&b={honest['id']}")
    assert "Declared as fitted to these subsets: ridge" in compared
    assert "is better, by" not in compared
    for address in (f"{fitted['links']['page']}/badge.svg", "/badges/declared/alice/ridge.svg?show=rank"):
        badge = page(service, address)
        assert "fitted to these subsets" in badge
        assert "rank " not in badge
    assert "fitted to these subsets" in page(service, "/badges/declared/alice/ridge.svg")
    feed = page(service, "/benchmarks/declared/feed.atom")
    assert feed.count(", declared: fitted to these subsets") == 1

    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    records = {record["method"]: record for record in leaderboard("declared")}
    assert (records["ridge"]["uses_subsets"], records["ridge"]["rank_low"]) == (True, None)
    done = CliRunner().invoke(cli, ["leaderboard", "declared"], catch_exceptions=False)
    assert "fitted: declared as fitted to these subsets, and not ranked." in done.stdout
    shown = CliRunner().invoke(cli, ["status", fitted["id"]], catch_exceptions=False).stdout
    assert "declared: fitted to these subsets" in shown


def test_form_asks_for_the_declaration_on_practice_boards_only(service: Service) -> None:
    assert 'name="uses_subsets"' in page(service, "/benchmarks/open-toy/submit")
    assert 'name="uses_subsets"' not in page(service, "/benchmarks/toy/submit")


def test_declaration_for_hidden_subsets_is_refused(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores(2.5, seed=40))
    before = service.rows()
    for query in ({"dry_run": "true"}, {}):
        refused = service.submit(token, "toy", content, method="declared", uses_subsets="true", **query)
        assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
        assert "hidden ranking subsets" in refused.json()["detail"]
        assert "are ranked" in refused.json()["hint"]
    announced = {"benchmark": "toy", "method": "declared", "size": len(content), "sha256": "0" * 64}
    headers = {"Authorization": f"Bearer {token}"}
    refused = service.client.post("/submissions", json=announced | {"uses_subsets": True}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
    assert service.rows() == before
    sent = service.submit_and_score(token, "toy", content, method="declared")["id"]
    assert edit(service, token, sent, uses_subsets=True).json()["code"] == "request.invalid"
    assert edit(service, token, sent, uses_subsets=False).status_code == 200
    assert not service.row(sent).uses_subsets


def test_owner_can_declare_later_and_only_an_admin_can_take_it_back(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "later", split="open")
    service.publish(example.folder)
    token = service.token("declarer")
    with service.database.write() as session:
        admin = tokens.create(session, users.add_user(session, "undoer", role=Role.ADMIN))[1]
    sent = [
        service.submit_and_score(token, "later", npy(example.scores(noise)), method=method)["id"]
        for method, noise in (("a", 0.1), ("b", 1.0))
    ]

    def ranks() -> list[Any]:
        rows = {row["id"]: row["rank"] for row in service.client.get("/benchmarks/later/leaderboard").json()["rows"]}
        return [rows[submission_id] for submission_id in sent]

    assert ranks() == [[1, 1], [2, 2]]
    assert edit(service, token, sent[0], uses_subsets=True).json()["uses_subsets"] is True
    assert ranks() == [None, [1, 1]]
    assert edit(service, token, sent[0], uses_subsets=True, title="Ridge").status_code == 200
    refused = edit(service, token, sent[0], uses_subsets=False, title="Honest")
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert "cannot take this back" in refused.json()["detail"]
    assert (service.row(sent[0]).title, ranks()) == ("Ridge", [None, [1, 1]])
    assert edit(service, admin, sent[0], uses_subsets=False).json()["uses_subsets"] is False
    assert ranks() == [[1, 1], [2, 2]]


def test_pages_and_badges_show_the_rank_of_older_entries_in_parentheses(service: Service, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "parenthesised", split="open")
    service.publish(example.folder)
    token = service.token("crowd", ranked_per_day=6)
    ids = [
        service.submit_and_score(token, "parenthesised", npy(example.scores(0.2 + 0.7 * place)), method=f"m-{place}")[
            "id"
        ]
        for place in range(6)
    ]
    rows = {row["id"]: row for row in service.client.get("/benchmarks/parenthesised/leaderboard").json()["rows"]}
    assert [rows[name]["in_family"] for name in ids] == [False] + [True] * 5
    for name in ids:
        hidden = service.client.get(f"/submissions/{name}").json()["hidden"]
        place = ("rank", "in_family", "separable_from_first", "fitted")
        assert [hidden[field] for field in place] == [rows[name][field] for field in place]
        low, high = hidden["rank"]
        rank = str(low) if low == high else f"{low}–{high}"  # noqa: RUF001 -- the dash of ranges is meant
        shown = f"({rank})" if name == ids[0] else rank
        text = page(service, f"/submissions/{name}")
        assert f", rank {shown}. " in text
        assert ("The rank is in parentheses" in text) == (name == ids[0])
        assert f", rank {shown}</title>" in page(service, f"/submissions/{name}/badge.svg")
    assert ", rank (1" in page(service, "/benchmarks/parenthesised/feed.atom")
    made = service.client.post(f"/submissions/{ids[0]}/review-link", headers={"Authorization": f"Bearer {token}"})
    review = service.client.get(made.json()["url"]).text
    assert "<dt>Rank</dt><dd>(1)</dd>" in review
    assert "The rank is in parentheses" in review


def test_submission_to_a_protected_version_can_be_declared_on_the_practice_version_that_follows(
    service: Service, token: str, tmp_path: Path
) -> None:
    example = write_benchmark(tmp_path / "protected", "opened")
    service.publish(example.folder)
    sent = service.submit_and_score(token, "opened", npy(example.scores()))["id"]
    assert edit(service, token, sent, uses_subsets=True).json()["code"] == "request.invalid"
    service.publish(write_benchmark(tmp_path / "practice", "opened", version=2, split="open").folder)
    until(lambda: service.client.get("/benchmarks/opened").json()["version"] == 2, "the practice version")
    assert edit(service, token, sent, uses_subsets=True).json()["uses_subsets"] is True
    assert [row["rank"] for row in service.client.get("/benchmarks/opened/leaderboard").json()["rows"]] == [None]
    before = service.client.get("/benchmarks/opened/leaderboard", params={"version": 1}).json()
    assert [row["rank"] for row in before["rows"]] == [[1, 1]]
