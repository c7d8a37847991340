"""Falls on the page of a leaderboard: the column, its order, its notes, and the entries on which the two numbers disagree."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from app.leaderboard.entries import Entry, Fall
from app.pages.content.disagreements import MAX_PAIRS, Kind, disagreements
from app.submissions.visibility import PublicIdentity
from tests.app.benchmarks import write_benchmark
from tests.app.evaluated import save_falls
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.pages.conftest import Site

PAGE = "/benchmarks/felled"
HEADING = "Fall without top 1 % [95 % interval]"


@pytest.fixture(scope="module")
def entries(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids of three entries by method; the best by LDS has the smallest fall, and the last has none."""
    example = write_benchmark(tmp_path_factory.mktemp("felled"), "felled", N=30)
    site.service.publish(example.folder)
    ids = {}
    for method, noise in (("best", 0.1), ("deep", 2.0), ("pending", 8.0)):
        token = site.service.token(f"felled-{method}")
        sent = site.service.submit_and_score(token, "felled", npy(example.scores(noise)), method=method)
        ids[method] = str(sent["id"])
    save_falls(site.service, ids["best"], range(15), (3, 12), 12, scale=0.5, p_value=0.5, others=0.0)
    save_falls(site.service, ids["deep"], range(15), (3, 12), 12, scale=2.0, whole_class=2, ties=1, wrong_sign=3)
    return ids


def shown(site: Site, query: str = "") -> list[dict[str, str]]:
    """Return the cells of the board by heading."""
    heading, *rows = Markup(plain(site.text(PAGE + query))).tables[1]
    names = [name.strip() for name in heading]
    return [dict(zip(names, map(words, row), strict=True)) for row in rows]


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("&#8239;", " ")


def words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def test_column_shows_fall_rank_and_notes(site: Site, entries: dict[str, str]) -> None:
    best, deep, pending = (row[HEADING] for row in shown(site))
    assert best == "0.850 [0.062, 0.500] rank 2 may be random"
    assert deep == (
        "3.400 [0.062, 0.500] rank 1 removes a whole class for 2 targets too few positive scores for 3 targets ties for 1 target"
    )
    assert pending == "\N{EN DASH}"
    assert entries.keys() == {"best", "deep", "pending"}


def test_curves_of_the_deepest_entries_stand_in_a_table(site: Site, entries: dict[str, str]) -> None:
    heading, *rows = Markup(plain(site.text(PAGE))).tables[0]
    assert heading == ["Method", "3 examples", "12 examples"]
    cells = [[words(cell).split(" [")[0] for cell in row] for row in rows]
    assert cells == [
        ["deep felled-deep", "0.850", "3.400"],
        ["best felled-best", "0.212", "0.850"],
        ["random examples", "\N{MINUS SIGN}0.062", "\N{MINUS SIGN}0.062"],
    ]
    assert entries["deep"] in site.text(PAGE).split('id="curves"')[1].split("</tr>")[1]


def test_at_most_five_entries_have_curves(site: Site, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "many", split="open", N=30)
    site.service.publish(example.folder)
    for place in range(7):
        token = site.service.token(f"many-{place}")
        fitted = str(place == 6).lower()  # an entry that is declared as fitted to the subsets has no curve
        sent = site.service.submit_and_score(token, "many", npy(example.scores(0.1 + place)), uses_subsets=fitted)
        save_falls(site.service, sent["id"], range(15), (3, 12), 12, scale=1.0 + place)
    rows = Markup(site.text("/benchmarks/many")).tables[0][1:]
    assert [words(row[0]).split("many-")[-1] for row in rows] == ["5", "4", "3", "2", "1", "random examples"]


def test_board_is_sorted_by_fall_and_the_other_rank_is_named(site: Site, entries: dict[str, str]) -> None:
    del entries
    rows = shown(site, "?sort=fall")
    assert [row["Method"].split()[0] for row in rows] == ["deep", "best", "pending"]
    assert [row["Rank by LDS"] for row in rows] == ["2", "1", "3"]


def test_disagreements_are_named(site: Site, entries: dict[str, str]) -> None:
    del entries
    assert "best is better than deep by LDS, and worse by fall." in words(site.text(PAGE))


def test_a_class_that_falls_as_a_whole_is_noted(site: Site, entries: dict[str, str]) -> None:
    save_falls(site.service, entries["best"], range(15), (3, 12), 12, scale=0.5, others=0.5)
    assert shown(site)[0][HEADING].endswith("rank 2 others of the class fall by 0.500")
    save_falls(site.service, entries["best"], range(15), (3, 12), 12, scale=0.5, p_value=0.5, others=0.0)


def test_falls_without_intervals_are_in_no_scatter_plot(site: Site, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path, "single", N=30)
    site.service.publish(example.folder)
    for owner, noise in (("single-a", 0.1), ("single-b", 2.0)):
        sent = site.service.submit_and_score(site.service.token(owner), "single", npy(example.scores(noise)))
        save_falls(site.service, sent["id"], [3], (3, 12), 12)
    text = site.text("/benchmarks/single")
    assert 'data-chart="curves"' in text
    assert 'data-chart="falls"' not in text


def test_a_board_without_falls_has_no_column(site: Site) -> None:
    text = site.text("/benchmarks/toy")
    assert "Fall without" not in text
    assert "Rank by LDS" not in text


def entry(name: str, lds: tuple[int, int], fall: tuple[int, int] | None, *, fitted: bool = False) -> Entry:
    identity = PublicIdentity("ann", name, name, "", [], {}, None, None)
    numbers = (0.5, 0.01, 0.4, 0.6, 9.0, 0.0)
    made = Fall(1.0, fall) if fall else None
    sent = datetime(2026, 1, 1, tzinfo=UTC)
    return Entry(identity, 1, 1, name, sent, None, *lds, True, None, fitted, *numbers, fall=made)


def test_pairs_in_opposite_order_come_first_then_those_that_one_number_tells_apart() -> None:
    found = disagreements(
        [
            entry("a", (1, 1), (2, 4)),
            entry("b", (2, 2), (2, 4)),
            entry("c", (3, 4), (1, 1)),
            entry("d", (3, 4), (2, 4)),
            entry("fitted", (1, 1), (5, 5), fitted=True),
            entry("pending", (5, 5), None),
        ]
    )
    assert [(each.kind, each.better.id, each.worse.id) for each in found] == [
        (Kind.OPPOSITE, "a", "c"),
        (Kind.OPPOSITE, "b", "c"),
        (Kind.ONLY_FALL, "c", "d"),
        (Kind.ONLY_LDS, "a", "d"),
        (Kind.ONLY_LDS, "a", "b"),
    ]
    assert len(found) == MAX_PAIRS


def test_overlapping_ranks_disagree_nowhere() -> None:
    assert disagreements([entry("a", (1, 3), (1, 1)), entry("b", (2, 4), (1, 1))]) == []
    assert disagreements([entry("a", (1, 1), (1, 3)), entry("b", (1, 1), (2, 4))]) == []


def test_equal_orders_disagree_nowhere() -> None:
    assert disagreements([entry("a", (1, 2), (1, 2)), entry("b", (1, 2), (1, 2)), entry("c", (3, 3), (3, 3))]) == []
