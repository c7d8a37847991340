"""Leaderboards, and their news."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

from fastapi import Query, Response

from app.benchmarks import catalog
from app.leaderboard.entries import list_entries
from app.leaderboard.views import benchmark_view, leaderboard_view
from app.pages.content.feed import atom
from app.pages.content.rank_groups import groups, rivals, verdict
from app.pages.content.sorting import Arrangement, Column, Order
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.results import comparison, history
from app.web.dependencies import ReadSession, VersionNumber

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.leaderboard.entries import Entry
    from app.results.schemas import PairView
    from app.submissions.visibility import PublicIdentity

router = Pages()

ENTRIES = 50
"""Entries of a leaderboard on one page."""

NEWS = 50
"""Entries of a feed, the newest ones."""


@router.page("/benchmarks/{name}")
def show_benchmark(
    session: ReadSession,
    public_url: PublicUrl,
    name: str,
    version: VersionNumber = None,
    sort: Column = "rank",
    order: Order | None = None,
    q: Annotated[str, Query(max_length=100)] = "",
    tag: Annotated[str, Query(max_length=100)] = "",
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> str:
    """Show a leaderboard: all of it, or what is asked for, sorted by a column."""
    found = catalog.find_version(session, name, version)
    entries = list_entries(session, found)
    arrangement = Arrangement(sort, order, q, tag, version, after)
    wanted = arrangement.of(entries)
    board = leaderboard_view(session, found, after=after, limit=ENTRIES, entries=wanted)
    leads = after == 0 and wanted[:2] == entries[:2]
    top = board.rows if leads else leaderboard_view(session, found, limit=2, entries=entries).rows
    tags = dict(sorted(Counter(tag for entry in entries for tag in entry.known.tags).items()))
    return render(
        "benchmark.html",
        benchmark=benchmark_view(session, found, entries),
        board=board,
        timed=sum(1 for row in board.rows if row.cost and row.cost.get("seconds")),
        verdict=verdict(top),
        gaps=_gaps(session, entries),
        groups=groups(entries) if board.rows and arrangement.is_ranking else {},
        tags=tags,
        tagged={tag: arrangement.address(tag=tag) for tag in tags},
        wanted=len(wanted),
        shown=arrangement,
        page=ENTRIES,
        public_url=public_url,
    )


def _gaps(session: Session, entries: Sequence[Entry]) -> list[tuple[PublicIdentity, PairView]]:
    """Return how far the `rivals` of the first entry are below it."""
    others = rivals(entries)
    if not others:
        return []
    pairs = comparison.compare_first(session, [entry.evaluation_id for entry in (entries[0], *others)])
    return [(rival.known, pair) for rival, pair in zip(others, pairs, strict=True)]


@router.page("/benchmarks/{name}/feed.atom")
def show_feed(session: ReadSession, public_url: PublicUrl, name: str) -> Response:
    """List the newest entries of a leaderboard for feed readers."""
    found = catalog.find_version(session, name)
    entries = sorted(list_entries(session, found), key=lambda entry: entry.created_at, reverse=True)
    rows = leaderboard_view(session, found, limit=NEWS, entries=entries).rows
    benchmark = benchmark_view(session, found, entries)
    changed = history.changed(session, [row.id for row in rows])
    return Response(atom(benchmark, rows, changed, found.created_at, public_url), media_type="application/atom+xml")
