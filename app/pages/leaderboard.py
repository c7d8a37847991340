"""Leaderboard pages and their Atom feeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Response
from sqlalchemy.orm import Session

from app.benchmarks import perfect_scores
from app.benchmarks.catalog import FEWEST_RANKED
from app.db.models import Version
from app.leaderboard.as_published import shown_values
from app.leaderboard.entries import Entry, comparable, list_entries
from app.leaderboard.falls import add_falls, deletion_curves
from app.leaderboard.schemas import FallNumbers, Row
from app.leaderboard.stored_snapshots import snapshot_links
from app.leaderboard.views import all_users, benchmark_view, leaderboard_view
from app.pages.content.disagreements import disagreements
from app.pages.content.feed import atom
from app.pages.content.rank_groups import groups, rivals, verdict
from app.pages.content.sorting import LeaderboardQuery
from app.pages.content.templates import render
from app.pages.content.variants import variants
from app.pages.routing import Pages
from app.results import comparison, history
from app.results.schemas import PairView
from app.submissions.visibility import PublicIdentity
from app.web.dependencies import CurrentVersionDep, ReadSession, SettingsDep, VersionDep

router = Pages()

PAGE_SIZE = 50
"""Number of entries on one leaderboard page."""

MAX_CURVES = 5
"""Number of entries whose deletion curves a leaderboard page shows: those with the largest falls on the page."""

FEED_SIZE = 50
"""Maximum number of entries in a feed, newest first."""


@router.get("/benchmarks/{name}")
def show_benchmark(
    settings: SettingsDep, session: ReadSession, version: VersionDep, query: Annotated[LeaderboardQuery, Query()]
) -> str:
    """Show a leaderboard, filtered and sorted as the query parameters say."""
    entries = add_falls(session, version, list_entries(session, version))
    selected = query.select(entries)
    board = leaderboard_view(session, version, after=query.after, limit=PAGE_SIZE, entries=selected)
    compared = comparable(entries)
    has_top = query.after == 0 and selected[:2] == compared[:2]
    top = board.rows if has_top else leaderboard_view(session, version, limit=2, entries=compared).rows
    tags = dict(sorted(Counter(tag for entry in entries for tag in entry.identity.tags).items()))
    return render(
        "benchmark.html",
        benchmark=benchmark_view(session, version, entries),
        board=board,
        timed=sum(1 for row in board.rows if not row.uses_subsets and row.cost and row.cost.get("seconds")),
        variants=variants(board.rows) if query.tag else [],
        verdict=verdict(top, compared),
        declared=len(entries) - len(compared),
        disagreements=disagreements(entries) if board.ranked else [],
        has_falls=any(entry.fall for entry in entries),
        curves=_curves(session, version, board.rows),
        all_users=all_users(session, version, entries),
        gaps=_gaps(session, version, compared) if board.ranked else [],
        can_pass=perfect_scores.can_pass(settings.benchmarks_dir, version),
        resolution=_resolution(session, version, compared),
        groups=groups(entries) if board.rows and board.ranked and query.is_ranking else {},
        tags=tags,
        tag_urls={tag: query.url(tag=tag) for tag in tags},
        selected=len(selected),
        query=query,
        page_size=PAGE_SIZE,
        published=shown_values(settings.as_published_dir, version.manifest),
        snapshots=snapshot_links(settings.snapshots_dir, version.benchmark.name, version.version),
        public_url=settings.public_url,
    )


def _curves(session: Session, version: Version, rows: Sequence[Row]) -> list[tuple[Row, list[FallNumbers]]]:
    """Return the rows with the largest falls, at most `MAX_CURVES`, each with its falls by number of removed examples."""
    falls = {row.id: row.fall.fall for row in rows if row.fall is not None and not row.uses_subsets}
    deepest = sorted((row for row in rows if row.id in falls), key=lambda row: -falls[row.id])[:MAX_CURVES]
    curves = deletion_curves(session, version, [row.id for row in deepest]) if deepest else {}
    return [(row, curves[row.id]) for row in deepest]


def _gaps(session: Session, version: Version, entries: Sequence[Entry]) -> list[tuple[PublicIdentity, PairView]]:
    """Compare the first entry of a board with each of its `rivals`; `entries` is the result of `comparable`.

    Return one tuple for each rival: the visible identity of the rival, and the comparison of the first entry with the rival.
    """
    others = rivals(entries)
    if not others:
        return []
    pairs = comparison.compare_with_first(session, version, [entries[0], *others])
    return [(rival.identity, pair) for rival, pair in zip(others, pairs, strict=True)]


def _resolution(session: Session, version: Version, entries: Sequence[Entry]) -> float | None:
    """Return the `smallest_visible_difference` of the first `PAGE_SIZE` of `entries`.

    The result is None for fewer than two entries, and for a board with enough ranking subsets for ranks.
    """
    if version.manifest["subsets"]["ranking"] >= FEWEST_RANKED:
        return None
    return comparison.smallest_visible_difference(session, version, entries[:PAGE_SIZE])


@router.get("/benchmarks/{name}/feed.atom")
def show_feed(settings: SettingsDep, session: ReadSession, version: CurrentVersionDep) -> Response:
    """Return the newest entries of the current leaderboard, at most `FEED_SIZE`, as an Atom feed."""
    entries = sorted(list_entries(session, version), key=lambda entry: entry.created_at, reverse=True)
    rows = leaderboard_view(session, version, limit=FEED_SIZE, entries=entries).rows
    benchmark = benchmark_view(session, version, entries)
    changed = history.last_changed(session, version, [row.id for row in rows])
    feed = atom(benchmark, rows, changed, version.created_at, settings.public_url)
    return Response(feed, media_type="application/atom+xml")
