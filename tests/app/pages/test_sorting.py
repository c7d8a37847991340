"""Sorting and searching a leaderboard, rank groups, and the verdict on the best entry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.leaderboard.entries import Entry
from app.leaderboard.schemas import Row
from app.pages.content.rank_groups import Verdict, groups, rivals, verdict
from app.pages.content.sorting import DEFAULT_ORDER, LeaderboardQuery
from app.submissions.visibility import PublicIdentity, anonymous_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.pages.content.sorting import Column, Order

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def entry(method: str, rank: tuple[int, int] = (1, 1), **values: Any) -> Entry:
    owner, title, tags = values.get("owner", "ada"), values.get("title", method), values.get("tags", [])
    identity = PublicIdentity(owner, method, title, "", tags, {}, None, None)
    return Entry(
        identity=values.get("identity", identity),
        attempts=values.get("attempts", 1),
        usable_attempts=values.get("attempts", 1),
        id=method,
        created_at=DAY + timedelta(days=values.get("day", 0)),
        seconds=values.get("seconds"),
        rank_low=rank[0],
        rank_high=rank[1],
        in_family=values.get("in_family", True),
        separable_from_first=values.get("separable"),
        uses_subsets=values.get("uses_subsets", False),
        lds=0.5,
        std_error=0.1,
        ci_low=0.3,
        ci_high=0.7,
        z_random=9.0,
        p_random=2e-19,
    )


BOARD = [
    entry("a", seconds=30.0, day=2, attempts=2, title="Straße", tags=["fast", "c&a"]),
    entry("b", day=3, attempts=1, owner="Bob"),
    entry("c", seconds=10.0, day=1, attempts=2, tags=["fast"]),
    entry("d", day=4, attempts=1, identity=anonymous_identity(7)),
]


def names(entries: Sequence[Entry]) -> str:
    return "".join(found.id for found in entries)


@pytest.mark.parametrize(
    ("column", "first", "other"),
    [
        ("rank", "abcd", "dcba"),
        ("lds", "abcd", "dcba"),
        ("ceiling", "abcd", "dcba"),
        ("cost", "cabd", "acbd"),  # entries without a cost come last in both directions
        ("attempts", "bdac", "acbd"),  # equal entries keep the order of the leaderboard
        ("date", "dbac", "cabd"),
    ],
)
def test_columns_sort_in_both_directions(column: Column, first: str, other: str) -> None:
    assert names(LeaderboardQuery(sort=column).select(BOARD)) == first
    turned: Order = "asc" if DEFAULT_ORDER[column] == "desc" else "desc"
    assert names(LeaderboardQuery(sort=column, order=turned).select(BOARD)) == other


@pytest.mark.parametrize(
    ("q", "tag", "found"),
    [
        ("", "", "abcd"),
        ("STRASSE", "", "a"),
        ("bob", "", "b"),
        ("fast ada", "", "ac"),  # all words must match, in any field
        ("fast bob", "", ""),
        ("", "fast", "ac"),
        ("", "fas", ""),
        ("anonymous-7", "", "d"),
        ("withheld", "", "d"),
    ],
)
def test_search_matches_only_visible_texts(q: str, tag: str, found: str) -> None:
    assert names(LeaderboardQuery(q=q, tag=tag).select(BOARD)) == found


def test_addresses_keep_unchanged_parameters() -> None:
    shown = LeaderboardQuery(sort="cost", q="x y", tag="c&a", version=2, after=100)
    assert shown.url(after=200) == "?sort=cost&q=x+y&tag=c%26a&version=2&after=200"
    assert shown.url(tag="") == "?sort=cost&q=x+y&version=2"
    assert shown.sort_url("cost") == "?sort=cost&order=desc&q=x+y&tag=c%26a&version=2"
    assert shown.sort_url("lds") == "?sort=lds&q=x+y&tag=c%26a&version=2"
    assert LeaderboardQuery(sort="cost", order="desc").sort_url("cost") == "?sort=cost"
    assert LeaderboardQuery(sort="lds").sort_url("rank") == "?"
    assert LeaderboardQuery().sort_url("rank") == "?sort=rank&order=desc"


def test_neighbours_with_overlapping_ranks_form_a_rank_group() -> None:
    board = [entry("a", (1, 1)), entry("b", (2, 3)), entry("c", (2, 4)), entry("d", (4, 4)), entry("e", (5, 5))]
    assert list(groups(board).values()) == [1, 2, 2, 2, 3]


def test_entry_that_ranks_do_not_count_forms_no_rank_group_with_others() -> None:
    outside = [entry("x", (2, 2), in_family=False), entry("y", (2, 2), in_family=False)]
    board = [entry("a", (1, 1)), *outside, entry("b", (2, 3)), entry("c", (2, 3))]
    assert list(groups(board).values()) == [1, -2, -3, 2, 2]


def row(separable: bool | None = None) -> Row:
    return Row.model_construct(lds=0.5, rank=(1, 1), separable_from_first=separable)


def test_verdict_follows_from_the_tests_against_the_first() -> None:
    def conclude(*separable: bool) -> Verdict | None:
        values = (None, *separable)
        return verdict([row(value) for value in values[:2]], [entry("e", separable=value) for value in values])

    assert verdict([], []) is None
    alone = conclude()
    assert alone
    assert (alone.second, alone.tied, alone.beats_second) == (None, 0, False)
    clear = conclude(True, True)
    assert clear
    assert (clear.tied, clear.beats_second) == (0, True)
    open_ = conclude(False, False, True)
    assert open_
    assert (open_.tied, open_.beats_second) == (2, False)
    odd = conclude(True, False)  # an imprecise third entry may be the best
    assert odd
    assert (odd.tied, odd.beats_second) == (1, True)


def test_verdict_claims_nothing_before_a_changed_board_is_ranked() -> None:
    changed = verdict([row(), row()], [entry("a"), entry("b"), entry("c")])
    assert changed
    assert (changed.tied, changed.beats_second) == (2, False)


def test_first_entry_is_compared_with_the_second_and_the_first_that_is_separable() -> None:
    a, b, c, d = entry("a"), entry("b", separable=False), entry("c", separable=True), entry("d", separable=True)
    assert rivals([]) == rivals([a]) == []
    assert rivals([a, b]) == [b]
    assert rivals([a, b, c, d]) == [b, c]
    assert rivals([a, c, d]) == [c]
    assert rivals([a, b, entry("e", separable=False)]) == [b]  # no entry is certainly below the first
