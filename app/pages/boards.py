"""Leaderboards."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from app.dependencies import Reading, WhichVersion
from app.pages.routing import Pages, PublicUrl
from app.pages.templates import render
from app.services import benchmarks, leaderboard

router = Pages()

ENTRIES = 500
"""Entries of a leaderboard on one page."""


@router.page("/benchmarks/{name}")
def show_benchmark(
    session: Reading,
    public_url: PublicUrl,
    name: str,
    version: WhichVersion = None,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> str:
    """Show a benchmark and its leaderboard."""
    found = benchmarks.find(session, name, version)
    return render(
        "benchmark.html",
        benchmark=leaderboard.benchmark_view(session, found),
        board=leaderboard.view(session, found, after=after, limit=ENTRIES),
        following=after + ENTRIES,
        kit=benchmarks.has_kit(found.manifest["files"]),
        public_url=public_url,
    )
