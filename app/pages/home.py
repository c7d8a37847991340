"""The first page, and the one about the API."""

from __future__ import annotations

from app.dependencies import Reading
from app.pages.routing import Pages, PublicUrl
from app.pages.templates import render
from app.services import benchmarks, leaderboard

router = Pages()


@router.page("/")
def home(session: Reading, public_url: PublicUrl) -> str:
    """List the benchmarks."""
    views = [leaderboard.benchmark_view(session, version) for version in benchmarks.current(session)]
    return render("home.html", benchmarks=views, public_url=public_url)


@router.page("/docs")
def show_docs() -> str:
    """Show the documentation of the API."""
    return render("docs.html")
