"""The leaderboard of the API: entries, order, ranks, attempts, JSON and CSV."""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from app.db.models import State
from app.leaderboard.tables import FALL_COLUMNS
from app.submissions.lifecycle import transition
from ldsboard.core.board import rank_board
from ldsboard.core.ceiling import attempt_gain
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.app.benchmarks import Example
    from tests.app.service import Service

pytestmark = pytest.mark.database

NOISES = {"best": 0.2, "good": 0.5, "fair": 1.0, "poor": 3.0, "tied": 3.0}


class Board(NamedTuple):
    """A benchmark, its listed entries by method, a replaced entry, and the score arrays by method."""

    example: Example
    ids: dict[str, str]
    replaced: str
    sent: dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def board(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A leaderboard with five methods of one user, of which "best" was sent twice, and one method of another user.

    "poor" and "tied" have equal scores.
    """
    example = write_benchmark(tmp_path_factory.mktemp("board"), "board")
    service.publish(example.folder)
    token = service.token("owner", ranked_per_day=100)
    replaced = service.submit_and_score(token, "board", npy(example.scores(noise=9)), method="best")["id"]
    sent = {method: example.scores(noise) for method, noise in NOISES.items()}
    ids = {
        method: service.submit_and_score(token, "board", npy(scores), method=method)["id"]
        for method, scores in sent.items()
    }
    sent["rival"] = example.scores(0.5, seed=1)
    rival = service.token("rival")
    ids["rival"] = service.submit_and_score(rival, "board", npy(sent["rival"]), method="good", title='=2+"x",@')["id"]
    return Board(example, ids, replaced, sent)


def _leaderboard(service: Service, **query: Any) -> dict[str, Any]:
    view: dict[str, Any] = service.client.get("/benchmarks/board/leaderboard", params=query).json()
    return view


def test_leaderboard_lists_the_newest_entry_per_owner_and_method_by_lds(service: Service, board: Board) -> None:
    rows = _leaderboard(service)["rows"]
    assert {row["id"] for row in rows} == set(board.ids.values())
    assert all(first["lds"] >= second["lds"] for first, second in pairwise(rows))
    assert rows[0]["id"] == board.ids["best"]
    # Entries with equal scores are listed in the order of submission.
    places = [row["id"] for row in rows]
    assert places.index(board.ids["tied"]) == places.index(board.ids["poor"]) + 1


def test_ranks_are_the_rank_intervals_of_the_library(service: Service, board: Board) -> None:
    results = {method: board.example.offline(scores)["ranking"] for method, scores in board.sent.items()}
    influence_kM = np.stack([result.influence for result in results.values()])
    first = list(results).index("best")
    family_k = np.ones(len(results), dtype=np.bool_)
    standings = rank_board([result.lds for result in results.values()], influence_kM, family_k, first)
    expected = {board.ids[method]: list(standing[:2]) for method, standing in zip(results, standings, strict=True)}
    assert {row["id"]: row["rank"] for row in _leaderboard(service)["rows"]} == expected
    assert len({tuple(rank) for rank in expected.values()}) > 2
    separable = {row["id"]: row["separable_from_first"] for row in _leaderboard(service)["rows"]}
    assert separable == {board.ids[name]: standing[2] for name, standing in zip(results, standings, strict=True)}
    assert set(separable.values()) >= {None, True}
    for submission_id, rank in expected.items():
        assert service.client.get(f"/submissions/{submission_id}").json()["hidden"]["rank"] == rank


def test_replaced_entry_has_no_rank(service: Service, board: Board) -> None:
    view = service.client.get(f"/submissions/{board.replaced}").json()
    assert view["hidden"]["lds"] is not None
    assert view["hidden"]["rank"] is None


def test_entries_show_attempts_and_possible_gain(service: Service, board: Board) -> None:
    manifest = board.example.bundle.manifest
    for row in _leaderboard(service)["rows"]:
        assert row["attempts"] == (1 if row["owner"] == "rival" else 6)
        gain = attempt_gain(row["lds"], row["attempts"], round(manifest.attempts_spectrum, 4), 120)
        assert row["possible_gain"] == round(gain, 4)
        assert row["of_ceiling"] == round(row["lds"] / round(manifest.ceiling or 0, 4), 4)
        assert service.client.get(f"/submissions/{row['id']}").json()["attempts"] == row["attempts"]
    assert service.client.get("/benchmarks/board").json()["best"] == {
        "method": "best",
        "owner": "owner",
        "lds": _leaderboard(service)["rows"][0]["lds"],
        "of_ceiling": _leaderboard(service)["rows"][0]["of_ceiling"],
    }


def test_csv_matches_json_and_escapes_formulas(service: Service, board: Board) -> None:
    response = service.client.get("/benchmarks/board/leaderboard", params={"format": "csv"})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(response.text, newline="")))
    rows = _leaderboard(service)["rows"]
    assert len(table) == len(rows) == len(board.ids)
    for line, row in zip(table, rows, strict=True):
        cells = row | {"rank_low": row["rank"][0], "rank_high": row["rank"][1], "benchmark": "board", "version": 1}
        cells |= {"ci_low": row["ci"][0], "ci_high": row["ci"][1]} | dict.fromkeys(FALL_COLUMNS)  # nothing is retrained
        if row["id"] == board.ids["rival"]:
            assert cells["title"] == '=2+"x",@'
            cells["title"] = "'" + cells["title"]
        assert line == {name: "" if cells[name] is None else str(cells[name]) for name in line}


def test_pages_of_the_leaderboard_join_to_the_whole(service: Service, board: Board) -> None:
    whole = _leaderboard(service)
    assert len(whole["rows"]) == len(board.ids)
    assert whole["next"] is None
    rows, address = [], "/benchmarks/board/leaderboard?limit=4"
    while address:
        page = service.client.get(address.removeprefix("/api/v1")).json()
        rows += page["rows"]
        address = page["next"]
    assert rows == whole["rows"]


def test_withdrawn_entry_is_unlisted_and_counts_as_an_attempt(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    example = write_benchmark(tmp_path_factory.mktemp("withdrawn"), "withdrawn")
    service.publish(example.folder)
    token = service.token("leaver")
    first = service.submit_and_score(token, "withdrawn", npy(example.scores(0.5)), method="a")
    second = service.submit_and_score(token, "withdrawn", npy(example.scores(1.0)), method="b")
    with service.database.write() as session:
        assert transition(session, first["id"], State.SCORED, State.WITHDRAWN)
    rows = service.client.get("/benchmarks/withdrawn/leaderboard").json()["rows"]
    assert [(row["id"], row["attempts"]) for row in rows] == [(second["id"], 2)]


def test_leaderboard_without_entries_is_empty(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    service.publish(write_benchmark(tmp_path_factory.mktemp("fresh"), "fresh").folder)
    view = service.client.get("/benchmarks/fresh/leaderboard").json()
    assert (view["rows"], view["next"]) == ([], None)
    assert service.client.get("/benchmarks/fresh").json()["best"] is None
    table = service.client.get("/benchmarks/fresh/leaderboard", params={"format": "csv"}).text
    assert table.startswith('"rank_low","rank_high","method",')
    assert table.count("\n") == 1
