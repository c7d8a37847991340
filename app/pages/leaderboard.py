"""Leaderboard pages and their Atom feeds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Response

from app.leaderboard.entries import list_entries
from app.leaderboard.views import benchmark_view, leaderboard_view
from app.pages.content.feed import atom
from app.pages.content.rank_groups import groups, rivals, verdict
from app.pages.content.sorting import Column, LeaderboardQuery, Order
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.results import comparison, history
from app.web.dependencies import CurrentVersionDep, ReadSession, VersionDep, VersionNumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.leaderboard.entries import Entry
    from app.results.schemas import PairView
    from app.submissions.visibility import PublicIdentity

router = Pages()

PAGE_SIZE = 50
"""Number of entries on one leaderboard page."""

FEED_SIZE = 50
"""Maximum number of entries in a feed, newest first."""


@router.page("/benchmarks/{name}")
def show_benchmark(
    session: ReadSession,
    public_url: PublicUrl,
    benchmark_version: VersionDep,
    version: VersionNumber = None,
    sort: Column = "rank",
    order: Order | None = None,
    q: Annotated[str, Query(max_length=100)] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> str:
    """Show a leaderboard, filtered and sorted as the query parameters say."""
    entries = list_entries(session, benchmark_version)
    query = LeaderboardQuery(sort, order, q, tag, version, after)
    selected = query.select(entries)
    board = leaderboard_view(session, benchmark_version, after=after, limit=PAGE_SIZE, entries=selected)
    has_top = after == 0 and selected[:2] == entries[:2]
    top = board.rows if has_top else leaderboard_view(session, benchmark_version, limit=2, entries=entries).rows
    tags = dict(sorted(Counter(tag for entry in entries for tag in entry.identity.tags).items()))
    return render(
        "benchmark.html",
        benchmark=benchmark_view(session, benchmark_version, entries),
        board=board,
        timed=sum(1 for row in board.rows if row.cost and row.cost.get("seconds")),
        verdict=verdict(top),
        gaps=_gaps(session, entries),
        groups=groups(entries) if board.rows and query.is_ranking else {},
        tags=tags,
        tag_urls={tag: query.url(tag=tag) for tag in tags},
        selected=len(selected),
        query=query,
        page_size=PAGE_SIZE,
        public_url=public_url,
    )


def _gaps(session: Session, entries: Sequence[Entry]) -> list[tuple[PublicIdentity, PairView]]:
    """Return the LDS differences between the first entry and each of its `rivals`."""
    others = rivals(entries)
    if not others:
        return []
    pairs = comparison.compare_with_first(session, [entry.evaluation_id for entry in (entries[0], *others)])
    return [(rival.identity, pair) for rival, pair in zip(others, pairs, strict=True)]


@router.page("/benchmarks/{name}/feed.atom")
def show_feed(session: ReadSession, public_url: PublicUrl, benchmark_version: CurrentVersionDep) -> Response:
    """Return the newest entries of a leaderboard as an Atom feed."""
    entries = sorted(list_entries(session, benchmark_version), key=lambda entry: entry.created_at, reverse=True)
    rows = leaderboard_view(session, benchmark_version, limit=FEED_SIZE, entries=entries).rows
    benchmark = benchmark_view(session, benchmark_version, entries)
    changed = history.last_changed(session, [row.id for row in rows])
    return Response(
        atom(benchmark, rows, changed, benchmark_version.created_at, public_url), media_type="application/atom+xml"
    )
